//! Redirections to the layer 7 proxy that nobody takes.

use std::collections::BTreeSet;

use super::{Check, Finding, Group, joined};
use crate::kernel::sockets::Listeners;

const LISTENERS: Check = Check::new("proxy.listeners", Group::Proxy, "Somebody listens on every proxy port");

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Traffic that policy or a service sends to a proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redirect {
    pub port: u16,
    /// `None`: any.
    pub protocol: Option<u8>,
    /// Whose it is, in words.
    pub owner: String,
}

fn is_taken(redirect: &Redirect, ports: &Listeners) -> bool {
    match redirect.protocol {
        Some(TCP) => ports.tcp.contains(&redirect.port),
        Some(UDP) => ports.udp.contains(&redirect.port),
        _ => ports.tcp.contains(&redirect.port) || ports.udp.contains(&redirect.port),
    }
}

/// `redirects` in any order; `ports` of the node's network namespace. The errors are why one or the other cannot be read.
pub fn listeners(redirects: &Result<Vec<Redirect>, String>, ports: &Result<Listeners, String>) -> Finding {
    let redirects: BTreeSet<&Redirect> = match redirects {
        Ok(redirects) => redirects.iter().collect(),
        Err(why) => return LISTENERS.unknown(why.as_str(), ""),
    };
    if redirects.is_empty() {
        return LISTENERS.ok("nothing is redirected");
    }
    let ports = match ports {
        Ok(ports) => ports,
        Err(why) => {
            return LISTENERS
                .unknown(why.as_str(), "run in the node's network namespace (hostNetwork: true)");
        }
    };
    let dead: Vec<String> = redirects
        .iter()
        .filter(|redirect| !is_taken(redirect, ports))
        .map(|redirect| text(redirect))
        .collect();
    if dead.is_empty() {
        let used: BTreeSet<u16> = redirects.iter().map(|redirect| redirect.port).collect();
        let used: Vec<String> = used.iter().map(u16::to_string).collect();
        return LISTENERS.ok(format!("{} redirections to ports {}", redirects.len(), joined(&used)));
    }
    let fix = "this traffic is not answered: DNS and HTTP rules need the agent's DNS proxy and Envoy (`cilium-envoy`); \
               restart the one that is down";
    LISTENERS.fail(joined(&dead), fix)
}

fn text(redirect: &Redirect) -> String {
    let protocol = match redirect.protocol {
        Some(TCP) => "/TCP".to_owned(),
        Some(UDP) => "/UDP".to_owned(),
        Some(other) => format!("/{other}"),
        None => String::new(),
    };
    format!("nobody listens on {}{protocol} ({})", redirect.port, redirect.owner)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn the_protocol_of_the_listener_counts() {
        let redirect =
            |protocol| Redirect { port: 10001, protocol, owner: "default/client egress".to_owned() };
        let ports = Listeners { tcp: BTreeSet::from([10001]), udp: BTreeSet::new() };
        let status = |protocol| listeners(&Ok(vec![redirect(protocol)]), &Ok(ports.clone())).status;
        assert_eq!(status(Some(TCP)), Status::Ok);
        assert_eq!(status(None), Status::Ok);
        assert_eq!(status(Some(UDP)), Status::Fail);
        let finding = listeners(&Ok(vec![redirect(Some(UDP)); 2]), &Ok(ports.clone()));
        assert_eq!(finding.evidence, "nobody listens on 10001/UDP (default/client egress)");
        assert_eq!(listeners(&Ok(vec![]), &Err("no".to_owned())).status, Status::Ok);
    }
}
