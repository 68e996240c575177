//! The kernel, and what it lets us do.

use super::{Check, Finding, Group, joined};
use crate::kernel::system::Lockdown;
use crate::kernel::version::Version;

const VERSION: Check = Check::new("kernel.version", Group::Kernel, "The kernel is new enough");
const BTF: Check = Check::new("kernel.btf", Group::Kernel, "The kernel has type information");
const DROP_REASONS: Check = Check::new("kernel.drop-reasons", Group::Kernel, "The kernel tells drop reasons");
const SYMBOLS: Check = Check::new("kernel.symbols", Group::Kernel, "Addresses of kernel code can be named");
const LOCKDOWN: Check = Check::new("kernel.lockdown", Group::Kernel, "Lockdown lets programs read packets");
const CAPABILITIES: Check = Check::new("kernel.capabilities", Group::Kernel, "We hold the rights we need");
const SETTINGS: Check =
    Check::new("kernel.settings", Group::Kernel, "No setting of the kernel is in the way");

/// The first kernel with ring buffers.
const OLDEST: Version = Version(5, 8);
/// The oldest kernel that tracer is tested on.
const TESTED: Version = Version(5, 10);
/// The first kernel with tcx.
const TCX: Version = Version(6, 6);

/// `release` as uname gives it.
pub fn version(release: &str) -> Finding {
    let Some(version) = Version::parse(release) else {
        return VERSION.unknown(format!("`{release}` is no version"), "");
    };
    if version < OLDEST {
        let fix = "boot Linux 5.10 or newer to see drops; reading maps works";
        return VERSION.fail(format!("{release}: no BPF ring buffers before 5.8"), fix);
    }
    if version < TESTED {
        return VERSION.warn(format!("{release}: tracer is tested on 5.10 and newer"), "");
    }
    let tcx = if version >= TCX { "tcx" } else { "no tcx (6.6)" };
    VERSION.ok(format!("{release}, {tcx}"))
}

/// `found`: the number of drop reasons in it, or why it cannot be read.
pub fn type_information(found: &Result<usize, String>) -> Vec<Finding> {
    match found {
        Ok(reasons) => {
            let names = match reasons {
                0 => DROP_REASONS.warn(
                    "none",
                    "nothing to do: kernels before 5.17 have none; Cilium's own reasons are shown all the same",
                ),
                reasons => DROP_REASONS.ok(format!("{reasons} names")),
            };
            vec![BTF.ok("/sys/kernel/btf/vmlinux"), names]
        }
        Err(why) => {
            let fix = "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or mount /sys into this container; \
                       until then no drops can be seen, and maps can be read";
            vec![BTF.fail(why.as_str(), fix)]
        }
    }
}

/// `visible`: whether addresses can be seen in /proc/kallsyms.
pub fn symbols(visible: &Result<bool, String>) -> Finding {
    let fix = "CAP_SYSLOG, or `sysctl kernel.kptr_restrict=0`; until then call sites are bare addresses";
    match visible {
        Ok(true) => SYMBOLS.ok("/proc/kallsyms"),
        Ok(false) => SYMBOLS.warn("/proc/kallsyms hides addresses", fix),
        Err(why) => SYMBOLS.warn(format!("/proc/kallsyms: {why}"), fix),
    }
}

pub fn lockdown(mode: Lockdown) -> Finding {
    match mode {
        Lockdown::None => LOCKDOWN.ok("off"),
        Lockdown::Integrity => LOCKDOWN.ok("integrity: nothing that tracer needs is forbidden"),
        Lockdown::Confidentiality => LOCKDOWN.fail(
            "confidentiality: no program may read kernel memory, so no drop can be seen",
            "boot with lockdown=integrity; maps can be read as it is",
        ),
    }
}

/// Names of the capabilities, and whether we hold each.
pub fn capabilities(held: &Result<Vec<(&'static str, bool)>, String>) -> Finding {
    let held = match held {
        Ok(held) => held,
        Err(why) => return CAPABILITIES.unknown(why.as_str(), ""),
    };
    let of = |wanted: bool| -> Vec<&str> {
        held.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect()
    };
    let (have, miss) = (of(true), of(false));
    let has = |name: &str| have.contains(&name);
    let evidence = match (have.is_empty(), miss.is_empty()) {
        (true, _) => "none".to_owned(),
        (_, true) => joined(&have),
        _ => format!("{}; not {}", joined(&have), joined(&miss)),
    };
    if !has("CAP_SYS_ADMIN") && !has("CAP_BPF") {
        let fix = "run as root, or with CAP_BPF and CAP_PERFMON: no drop can be seen without them, and before Linux 5.19 \
                   no map be read";
        return CAPABILITIES.fail(evidence, fix);
    }
    if !has("CAP_SYS_ADMIN") && !has("CAP_PERFMON") {
        return CAPABILITIES.fail(evidence, "add CAP_PERFMON: maps can be read, drops cannot be seen");
    }
    if !has("CAP_SYS_ADMIN") || !has("CAP_NET_ADMIN") {
        let fix =
            "nothing is wrong: only doctor and `maps` look at programs, with CAP_SYS_ADMIN and CAP_NET_ADMIN";
        return CAPABILITIES.finding(super::Status::Ok, evidence, fix);
    }
    CAPABILITIES.ok(evidence)
}

/// Settings by their dotted names; `None`: the kernel has none of that name.
pub fn settings(values: &[(&'static str, Option<String>)]) -> Finding {
    let told: Vec<String> =
        values.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_deref()?))).collect();
    let is = |name: &str, value: &str| {
        values.iter().any(|(found, is)| *found == name && is.as_deref() == Some(value))
    };
    let evidence = joined(&told);
    if is(JIT, "0") {
        let fix =
            "`sysctl net.core.bpf_jit_enable=1`: every program of Cilium runs several times slower without";
        return SETTINGS.warn(evidence, fix);
    }
    SETTINGS.ok(evidence)
}

const JIT: &str = "net.core.bpf_jit_enable";

/// The settings that [`settings`] wants to know.
pub const SYSCTLS: [&str; 4] =
    ["kernel.unprivileged_bpf_disabled", "kernel.perf_event_paranoid", "kernel.kptr_restrict", JIT];

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn versions() {
        for (release, status) in [
            ("6.18.44-fc-v595", Status::Ok),
            ("5.10.0-37-cloud-amd64", Status::Ok),
            ("5.8.0", Status::Warn),
            ("5.4.0-100-generic", Status::Fail),
            ("4.19.1", Status::Fail),
            ("unreal", Status::Unknown),
        ] {
            assert_eq!(version(release).status, status, "{release}");
        }
    }

    #[test]
    fn rights() {
        let with = |names: &[&'static str]| {
            let all = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYSLOG"];
            let held = all.map(|name| (name, names.contains(&name))).to_vec();
            capabilities(&Ok(held)).status
        };
        assert_eq!(with(&[]), Status::Fail);
        assert_eq!(with(&["CAP_BPF"]), Status::Fail);
        assert_eq!(with(&["CAP_BPF", "CAP_PERFMON"]), Status::Ok);
        assert_eq!(with(&["CAP_SYS_ADMIN"]), Status::Ok);
    }

    #[test]
    fn only_confidentiality_is_in_the_way() {
        assert_eq!(lockdown(Lockdown::Confidentiality).status, Status::Fail);
        assert_eq!(lockdown(Lockdown::Integrity).status, Status::Ok);
    }

    #[test]
    fn interpreted_programs_are_worth_a_warning() {
        let jit = |value: &str| settings(&[(JIT, Some(value.to_owned())), ("kernel.kptr_restrict", None)]);
        assert_eq!((jit("0").status, jit("1").status), (Status::Warn, Status::Ok));
        assert_eq!(jit("1").evidence, "net.core.bpf_jit_enable=1");
    }
}
