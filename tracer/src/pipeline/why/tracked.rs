//! What connection tracking knows of the packet: a known connection may need no policy.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use tracer_common::cilium::ct::{CtEntry, flag};
use zerocopy::FromBytes as _;

use super::Asking;
use crate::cilium::ct::clock::Clock;
use crate::cilium::ct::{self, CtMap, GLOBAL, Kind, VALUE_SIZE};
use crate::pipeline::maps::OpenMap;
use crate::why::answer::{Connection, Party, Tracked};

const ICMP: [u8; 2] = [1, 58];

type Value = [u8; VALUE_SIZE];

impl Asking {
    /// Looks the connection up on both sides; without a source port counts what there is between the two.
    pub fn tracked(&mut self, source: &Party, destination: &Party, protocol: u8) -> Tracked {
        let (Some(from), Some(to)) = (source.address, destination.address) else { return Tracked::default() };
        if ICMP.contains(&protocol) || from.is_ipv6() != to.is_ipv6() {
            return Tracked::default();
        }
        let Some(port) = destination.port else { return Tracked::default() };
        let to = SocketAddr::new(to, port);
        match source.port {
            Some(port) => self.exactly(SocketAddr::new(from, port), to, protocol),
            None => self.counted(SocketAddr::new(from, 0), to, protocol),
        }
    }

    fn exactly(&mut self, source: SocketAddr, destination: SocketAddr, protocol: u8) -> Tracked {
        let mut tracked = Tracked::default();
        let (Some(forward), Some(reverse)) =
            (ct::keys(source, destination, protocol), ct::keys(destination, source, protocol))
        else {
            return tracked;
        };
        // Keys come as outgoing, incoming, service, related.
        let sides = [(&reverse[1], &forward[0]), (&reverse[0], &forward[1])];
        let [egress, ingress] = sides.map(|(reply, own)| {
            for (key, found) in [(reply, Connection::Reply), (own, Connection::Established)] {
                if let Some(value) = self.tracked_value(source.is_ipv6(), key.0, &key.1) {
                    self.read_value(&value, &mut tracked);
                    return found;
                }
            }
            Connection::New
        });
        Tracked { egress, ingress, ..tracked }
    }

    fn read_value(&self, value: &Value, tracked: &mut Tracked) {
        let Ok(entry) = CtEntry::read_from_bytes(value) else { return };
        let clock = Clock::detect(&self.node.view, entry.common.lifetime);
        tracked.through_proxy |= entry.common.flags & flag::PROXY_REDIRECT != 0;
        tracked.expired |= clock.remaining(entry.common.lifetime) < 0;
    }

    /// The value under a key of connection tracking.
    pub(super) fn tracked_value(&mut self, is_v6: bool, is_tcp: bool, key: &[u8]) -> Option<Value> {
        let open = self.connections(is_v6, is_tcp)?.1;
        let mut value = [0; VALUE_SIZE];
        self.node.maps.look_up(&open, key, &mut value)?.then_some(value)
    }

    fn connections(&mut self, is_v6: bool, is_tcp: bool) -> Option<(&'static CtMap, OpenMap)> {
        let map = GLOBAL.iter().find(|map| map.is_v6() == is_v6 && map.tcp == is_tcp)?;
        let open = self.node.maps.map(map.name)?;
        let info = open.map.info();
        ((info.key_size, info.value_size) == (map.key_size, VALUE_SIZE as u32)).then_some((map, open))
    }

    fn counted(&mut self, source: SocketAddr, destination: SocketAddr, protocol: u8) -> Tracked {
        let mut tracked = Tracked::default();
        let Some((map, open)) = self.connections(source.is_ipv6(), protocol == ct::TCP) else {
            return tracked;
        };
        self.node.maps.walk(&open, &mut |key, _| {
            let Some(key) = ct::decode_key(map, key) else { return ControlFlow::Continue(()) };
            if key.protocol == protocol && key.kind == Kind::Out {
                let (from, to) = (key.ends.originator, key.ends.other);
                tracked.forward += u64::from(from.ip() == source.ip() && to == destination);
                tracked.backward += u64::from(from == destination && to.ip() == source.ip());
            }
            ControlFlow::Continue(())
        });
        tracked
    }
}
