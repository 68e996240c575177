//! Facts of the policy maps: how full they are, and what they send to the proxy.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;

use tracer_common::cilium::policy::Generation;
use tracer_common::id::EndpointId;

use super::node::Node;
use crate::cilium::lb;
use crate::cilium::maps::MapRead;
use crate::cilium::pins::{PolicyPin, policy_pins};
use crate::cilium::policy::{self, Tally};
use crate::doctor::Finding;
use crate::doctor::capacity::Fill;
use crate::doctor::proxy::{self, Redirect};

/// Envoy takes connections only.
const TCP: u8 = 6;

/// What all policy maps hold.
#[derive(Default)]
pub(super) struct Policies {
    pub fills: Vec<Fill>,
    /// Maps that cannot be read, or whose entries are not understood.
    pub unread: Vec<String>,
    redirects: BTreeSet<Redirect>,
}

impl Policies {
    pub fn read(node: &Node) -> Self {
        let mut policies = Self::default();
        for pin in policy_pins(node.pins.iter().map(|pin| pin.name.as_str())) {
            let name = pin.name();
            let read = node.map(&name).map(|map| policies.read_one(node, pin, &name, map));
            if !matches!(read, Some(Ok(()))) {
                policies.unread.push(name);
            }
        }
        policies
    }

    fn read_one(&mut self, node: &Node, pin: PolicyPin, name: &str, map: &dyn MapRead) -> io::Result<()> {
        let mut tally = Tally::default();
        map.for_each(&mut |key, value| {
            tally.add(key, value);
            ControlFlow::Continue(())
        })?;
        self.fills.push(Fill {
            map: format!("{name} of {}", node.endpoint_name(pin.endpoint)),
            entries: tally.entries,
            max_entries: map.info().max_entries,
            evicts: false,
        });
        if tally.entries == 0 {
            return Ok(());
        }
        let releases = node.view.releases().releases();
        let form = policy::form(pin, name, map.info());
        let generation = form.and_then(|form| tally.generation(form, name, releases));
        let generation = generation.map_err(|error| io::Error::other(error.to_string()))?;
        self.read_redirects(node, pin.endpoint, generation, map)
    }

    fn read_redirects(
        &mut self,
        node: &Node,
        endpoint: EndpointId,
        generation: Generation,
        map: &dyn MapRead,
    ) -> io::Result<()> {
        map.for_each(&mut |key, value| {
            let entry = policy::decode(generation, key, value);
            if let Some(entry) = entry.filter(|entry| entry.proxy_port != 0 && !entry.deny) {
                let direction = if entry.egress { "egress" } else { "ingress" };
                self.redirects.insert(Redirect {
                    port: entry.proxy_port,
                    protocol: entry.protocol,
                    owner: format!("{} {direction}", node.endpoint_name(endpoint)),
                });
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

pub(super) fn proxies(node: &Node, policies: &Policies) -> Finding {
    let mut redirects = policies.redirects.clone();
    for layouts in &lb::SERVICES {
        let Some(map) = node.map(layouts[0].name) else { continue };
        // A map that cannot be read is told by the checks of pins.
        let _ = map.for_each(&mut |key, value| {
            if let Some((key, slot)) = lb::slot(key, value).filter(|(key, _)| key.slot == 0)
                && let Some(port) = slot.proxy_port().filter(|port| *port != 0)
            {
                let owner = format!("service {}", key.frontend.address);
                redirects.insert(Redirect { port, protocol: Some(TCP), owner });
            }
            ControlFlow::Continue(())
        });
    }
    let redirects = match policies.unread.is_empty() || !redirects.is_empty() {
        true => Ok(redirects.into_iter().collect()),
        false => Err(format!("{} policy maps cannot be read", policies.unread.len())),
    };
    proxy::listeners(&redirects, &node.network.listeners)
}
