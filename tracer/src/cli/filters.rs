//! The filter flags of event commands: Hubble's names and short forms. One table makes the clap arguments;
//! the values go to [`FilterBuilder`] in the order in which they were typed, because `--not` negates the next
//! one. Flags that Hubble has and a datapath tracer cannot serve are known here too: they are refused with
//! the reason, never ignored.

use clap::{Arg, ArgAction, ArgMatches};

use super::UsageError;
use super::drops::Events;
use crate::filter::FilterSet;
use crate::filter::build::FilterBuilder;

/// A filter flag.
struct Flag {
    name: &'static str,
    short: Option<char>,
    /// cilium-dbg's name for it.
    alias: Option<&'static str>,
    /// `None`: takes no value.
    value: Option<&'static str>,
    help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, alias: None, value: Some(value), help }
}

const fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Flag {
    Flag { name, short, alias: None, value: None, help }
}

const fn short(short: char, flag: Flag) -> Flag {
    Flag { short: Some(short), ..flag }
}

const fn alias(alias: &'static str, flag: Flag) -> Flag {
    Flag { alias: Some(alias), ..flag }
}

const NOT: &str = "not";

const FLAGS: &[Flag] = &[
    switch(NOT, None, "Negate the next filter: --not --from-ip 10.0.0.1"),
    flag("pod", "[NS/]PREFIX", "Pod by name prefix, on either end; without NS/, namespace default"),
    flag("from-pod", "[NS/]PREFIX", "Same, on the source"),
    flag("to-pod", "[NS/]PREFIX", "Same, on the destination"),
    short('n', flag("namespace", "NS", "Kubernetes namespace, on either end")),
    flag("from-namespace", "NS", "Same, on the source"),
    flag("to-namespace", "NS", "Same, on the destination"),
    switch("all-namespaces", Some('A'), "Pods of any namespace, on either end"),
    switch("from-all-namespaces", None, "Same, on the source"),
    switch("to-all-namespaces", None, "Same, on the destination"),
    short(
        'l',
        flag("label", "SELECTOR", "Label selector, on either end: app=x, k8s:app!=x, 'app in (a,b)', !app"),
    ),
    flag("from-label", "SELECTOR", "Same, on the source"),
    flag("to-label", "SELECTOR", "Same, on the destination"),
    flag(
        "identity",
        "ID",
        "Security identity, a number or a reserved name (host, world, ...), on either end",
    ),
    flag("from-identity", "ID", "Same, on the source"),
    flag("to-identity", "ID", "Same, on the destination"),
    alias("related-to", flag("endpoint", "EPID", "Cilium endpoint of this node, on either end")),
    alias("from", flag("from-endpoint", "EPID", "Same, on the source")),
    alias("to", flag("to-endpoint", "EPID", "Same, on the destination")),
    flag("ip", "IP|CIDR", "Address or prefix, on either end"),
    flag("from-ip", "IP|CIDR", "Same, on the source"),
    flag("to-ip", "IP|CIDR", "Same, on the destination"),
    flag("port", "PORT", "TCP, UDP or SCTP port or range, on either end"),
    flag("from-port", "PORT", "Same, on the source"),
    flag("to-port", "PORT", "Same, on the destination"),
    flag("fqdn", "NAME", "DNS name as the DNS proxy has seen it, * allowed, on either end"),
    flag("from-fqdn", "NAME", "Same, on the source"),
    flag("to-fqdn", "NAME", "Same, on the destination"),
    flag("cluster", "NAME", "Cluster name, * allowed, on either end"),
    flag("from-cluster", "NAME", "Same, on the source"),
    flag("to-cluster", "NAME", "Same, on the destination"),
    flag("protocol", "PROTO", "tcp, udp, sctp, icmp, icmpv4, icmpv6 or an IP protocol number"),
    flag("tcp-flags", "FLAGS", "TCP flags, comma-separated: all of them must be set"),
    switch("ipv4", Some('4'), "IPv4 only"),
    switch("ipv6", Some('6'), "IPv6 only"),
    flag("ip-version", "VERSION", "none (not IP), v4 or v6"),
    flag("verdict", "VERDICT", "FORWARDED, DROPPED, ERROR, AUDIT, REDIRECTED, TRACED or TRANSLATED"),
    flag(
        "drop-reason-desc",
        "REASON",
        "Cilium's drop reason: POLICY_DENIED, or its number; DROP_REASON_UNKNOWN: none",
    ),
    flag("kernel-reason", "REASON", "The kernel's drop reason: NO_SOCKET, or its number"),
    flag("traffic-direction", "DIRECTION", "ingress or egress, as seen from the endpoint"),
    flag("interface", "NAME", "Device of the packet, * allowed"),
    flag("node-name", "NAME", "[cluster/]node, * allowed; another node's name shows nothing"),
    flag("ip-trace-id", "ID", "IP trace id of the packet"),
];

/// Where there are events of more than one type.
const OF_FLOWS: &[Flag] = &[
    short(
        't',
        flag(
            "type",
            "TYPE[:SUBTYPE]",
            "drop, policy-verdict or trace; trace:to-endpoint, trace:from-network, drop:133",
        ),
    ),
    flag("snat-ip", "IP|CIDR", "Trace messages of packets whose source address SNAT has changed to this one"),
    switch("encrypted", None, "Trace messages of packets that were encrypted"),
    switch("unencrypted", None, "Whatever is not told to have been encrypted, drops and verdicts too"),
];

/// Flags of Hubble that are refused, and why. A value may follow.
type Refused = (&'static [&'static str], &'static str);

const REFUSED: &[Refused] = &[
    (
        &["http-status", "http-method", "http-path", "http-url", "http-header", "trace-id"],
        "layer 7 is seen by the agent's proxy only, not by the datapath",
    ),
    (&["uuid"], "flow ids are made up while printing, no other tool knows them"),
    (
        &["service", "from-service", "to-service"],
        "services are not looked up; use --ip and --port of the frontend",
    ),
    (&["ip-trace-option"], "drops tell the IP trace id, not the option it came from"),
    (
        &["workload", "from-workload", "to-workload"],
        "a pod's workload is known to the Kubernetes API only; use --pod with a name prefix, or --label",
    ),
    (&["node-label"], "node labels are known to the Kubernetes API only"),
    (&["cel-expression", "allowlist", "denylist", "print-raw-filters"], "use the filter flags"),
    (&["input-file"], "events come from this node's kernel, not from a file"),
    (
        &[
            "server",
            "tls",
            "tls-server-name",
            "port-forward",
            "kube-context",
            "kubeconfig",
            "timeout",
            "silent-errors",
        ],
        "there is no server: events come from this node's kernel",
    ),
    (&["field-mask", "use-default-field-masks"], "all known fields are printed"),
];

/// Refused where only drops are shown; `flows` knows them.
const DROPS_DO_NOT_TELL: &[Refused] = &[
    (&["snat-ip"], "a drop does not tell the address after translation; `tracer flows` has it"),
    (
        &["encrypted", "unencrypted"],
        "a drop does not tell whether the packet was encrypted; `tracer flows` does",
    ),
];

/// Refused where drops are shown as they happen; `replay` knows them.
const PAST: &[&str] = &["last", "first", "since", "until"];
const NO_PAST: &str = "there is no past to look at: drops are shown as they happen; `tracer replay` has one";

pub(super) const HEADING: &str = "Filters (repeated: any of them; different ones: all of them)";

/// The clap arguments: filters, then the hidden refused ones.
pub(super) fn args(events: Events) -> impl Iterator<Item = Arg> {
    let (more, fewer) = parts(events);
    let shown = FLAGS.iter().chain(more).enumerate().map(|(at, flag)| flag.arg(at));
    shown.chain(refused(fewer).flat_map(|(names, _)| names.iter()).map(|name| hidden(name)))
}

/// Filters that are only where such events are, and those that are refused there beside [`REFUSED`].
fn parts(events: Events) -> (&'static [Flag], &'static [Refused]) {
    match events {
        Events::Drops => (&[], DROPS_DO_NOT_TELL),
        Events::Flows => (OF_FLOWS, &[]),
    }
}

fn refused(fewer: &'static [Refused]) -> impl Iterator<Item = &'static Refused> {
    REFUSED.iter().chain(fewer)
}

impl Flag {
    fn arg(&self, order: usize) -> Arg {
        let arg =
            Arg::new(self.name).long(self.name).help(self.help).help_heading(HEADING).display_order(order);
        let arg = match self.value {
            Some(value) => arg.value_name(value).action(ArgAction::Append),
            // Appending an empty value keeps the place of every occurrence, which a counter would not.
            None => arg.action(ArgAction::Append).num_args(0).default_missing_value(""),
        };
        let arg = self.short.into_iter().fold(arg, Arg::short);
        self.alias.into_iter().fold(arg, Arg::visible_alias)
    }
}

fn hidden(name: &'static str) -> Arg {
    Arg::new(name).long(name).hide(true).action(ArgAction::Append).num_args(0..=1)
}

/// Selectors of the past, to be refused by [`check_live`].
pub(super) fn live_args() -> impl Iterator<Item = Arg> {
    PAST.iter().map(|name| hidden(name))
}

pub(super) fn check_live(matches: &ArgMatches) -> Result<(), UsageError> {
    match PAST.iter().find(|name| matches.indices_of(name).is_some()) {
        Some(name) => Err(UsageError(format!("--{name} cannot work here: {NO_PAST}"))),
        None => Ok(()),
    }
}

/// Reads the filter flags in the order they were typed.
pub(super) fn filter_set(matches: &ArgMatches, events: Events) -> Result<FilterSet, UsageError> {
    check_refused(matches, events)?;
    let mut typed: Vec<(usize, &str, &str)> =
        FLAGS.iter().chain(parts(events).0).flat_map(|flag| occurrences(matches, flag.name)).collect();
    typed.sort_unstable();
    let mut builder = FilterBuilder::default();
    for (_, name, value) in typed {
        match name {
            NOT => builder.not(),
            _ => builder.set(name, value),
        }
        .map_err(|e| UsageError(e.to_string()))?;
    }
    builder.finish().map_err(|e| UsageError(e.to_string()))
}

fn check_refused(matches: &ArgMatches, events: Events) -> Result<(), UsageError> {
    for (names, reason) in refused(parts(events).1) {
        if let Some(name) = names.iter().find(|name| matches.indices_of(name).is_some()) {
            return Err(UsageError(format!("--{name} cannot work here: {reason}")));
        }
    }
    Ok(())
}

/// Place, name and value of each use of a flag.
fn occurrences<'a>(matches: &'a ArgMatches, name: &'static str) -> Vec<(usize, &'static str, &'a str)> {
    let places = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<String>(name).into_iter().flatten();
    places.zip(values).map(|(place, value)| (place, name, value.as_str())).collect()
}
