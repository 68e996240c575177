//! The loader's [`Config`], read field by field: reading the whole would copy it to the stack.

use pretend_datapath::Config;

// Never read as it stands here: the loader replaces it.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    policy_form: 0,
    drop_message: 36,
    trace_message: 48,
    verdict_message: 32,
    metrics_place: 0,
    ct_two_counters: 0,
    world4: 0,
    world6: 0,
    endpoint: 0,
    identity: 0,
    options: 0,
    ifindex: 0,
    ipv4: 0,
    ipv6: [0; 4],
    mac: [0; 8],
    node_mac: [0; 8],
    xdp_port: 0,
};

/// A field of the configuration. Volatile, or the compiler would use the values above.
macro_rules! config {
    ($field:ident) => {
        // SAFETY: a field of a live static; the loader wrote it before the program was loaded.
        unsafe { core::ptr::read_volatile(&raw const $crate::config::CONFIG.$field) }
    };
}
pub(crate) use config;
