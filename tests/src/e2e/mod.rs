//! The end-to-end tests, one subject a file. A file lists its tests with [`tests!`](crate::tests) and is added to
//! [`ALL`]; the functions fail by an error or a panic.

mod binary;
mod capacity;
mod changing_maps;
mod coexistence;
mod ct;
mod deploy;
mod doctor;
mod drops_accounting;
mod drops_aggregate;
mod drops_bad_input;
mod drops_expected;
mod drops_json;
mod drops_jsonpb;
mod drops_no_cilium;
mod drops_rate_limit;
mod drops_stop;
mod drops_taps;
mod explain;
mod flows;
mod footprint;
mod generations;
mod maps;
mod nat_lb;
mod node_view;
mod pcapng;
mod policy_kernel;
mod pretend_node;
mod real_node;
mod record;
mod schema;
mod serve;
mod serve_full_disk;
mod snapshot;
mod support;
mod terminal;
mod top;
mod why;
mod why_real;

use crate::runner::Test;

/// In the order in which they run.
pub const ALL: &[&[Test]] = &[
    binary::TESTS,
    explain::TESTS,
    schema::TESTS,
    deploy::TESTS,
    node_view::TESTS,
    nat_lb::TESTS,
    pretend_node::TESTS,
    policy_kernel::TESTS,
    real_node::TESTS,
    why::TESTS,
    why_real::TESTS,
    maps::TESTS,
    snapshot::TESTS,
    record::TESTS,
    pcapng::TESTS,
    ct::TESTS,
    changing_maps::TESTS,
    capacity::TESTS,
    generations::TESTS,
    doctor::TESTS,
    drops_json::TESTS,
    drops_jsonpb::TESTS,
    drops_taps::TESTS,
    drops_rate_limit::TESTS,
    drops_stop::TESTS,
    drops_no_cilium::TESTS,
    drops_bad_input::TESTS,
    drops_accounting::TESTS,
    drops_aggregate::TESTS,
    flows::TESTS,
    top::TESTS,
    coexistence::TESTS,
    serve::TESTS,
    serve_full_disk::TESTS,
    footprint::TESTS,
];
