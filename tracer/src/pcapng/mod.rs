//! Dropped packets as a pcapng file, for tshark and its like: each packet with who, why and where as its comment,
//! each device of each network namespace as an interface. Blocks are written as they come, so that the file can be
//! read at any time and standard output can be piped on. Numbers are in the machine's byte order, which the file
//! says (draft-ietf-opsawg-pcapng).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use crate::model::flow::{Direction, Flow};
use crate::model::packet::First;
use crate::output::Node;
use crate::output::comment::Comment;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Section length: not given.
const UNKNOWN_LENGTH: u64 = u64::MAX;

/// Option codes.
const COMMENT: u16 = 1;
const SECTION_OS: u16 = 3;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_DESCRIPTION_TEXT: u16 = 3;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
/// 10⁻⁹ seconds.
const NANOSECONDS: u8 = 9;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// LINKTYPE_*. The last one is for bytes that nobody could make out.
const ETHERNET: u16 = 1;
const RAW_IP: u16 = 101;
const USER0: u16 = 147;

/// A packet's device: packets that begin with different headers need interfaces of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Interface {
    name: Arc<str>,
    ifindex: u32,
    netns: u32,
    link_type: u16,
}

/// Writes one file.
pub struct PcapWriter<W> {
    sink: W,
    comment: Comment,
    interfaces: HashMap<Interface, u32>,
    /// Bytes of a packet that are captured at most.
    snaplen: u32,
    block: Vec<u8>,
    text: Vec<u8>,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the header of the file.
    pub fn new(sink: W, node: &Node, kernel: &str, snaplen: u32) -> io::Result<Self> {
        let mut writer = Self {
            sink,
            comment: Comment::new(node),
            interfaces: HashMap::new(),
            snaplen,
            block: Vec::with_capacity(1024),
            text: Vec::with_capacity(512),
        };
        writer.begin(SECTION_HEADER);
        writer.u32(BYTE_ORDER);
        writer.u16(1);
        writer.u16(0);
        writer.u64(UNKNOWN_LENGTH);
        writer.option(SECTION_OS, kernel.as_bytes());
        writer.option(SECTION_APPLICATION, concat!("tracer ", env!("CARGO_PKG_VERSION")).as_bytes());
        writer.option(COMMENT, format!("dropped packets of node {}", node.name).as_bytes());
        writer.end()?;
        Ok(writer)
    }

    pub fn set_node(&mut self, node: &Node) {
        self.comment = Comment::new(node);
    }

    pub fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        let interface = self.interface(flow)?;
        let time = flow.time.0 as u64;
        let captured = flow.bytes.len() as u32;
        self.begin(ENHANCED_PACKET);
        self.u32(interface);
        self.u32((time >> 32) as u32);
        self.u32(time as u32);
        self.u32(captured);
        self.u32(flow.packet.length.max(captured));
        self.padded(&flow.bytes);
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.comment.write(&mut text, flow);
        self.option(COMMENT, &text);
        self.text = text;
        match flow.direction {
            Direction::Unknown => {}
            Direction::Ingress => self.option(PACKET_FLAGS, &INBOUND.to_ne_bytes()),
            Direction::Egress => self.option(PACKET_FLAGS, &OUTBOUND.to_ne_bytes()),
        }
        self.end()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// The number of the flow's interface, which is described the first time.
    fn interface(&mut self, flow: &Flow) -> io::Result<u32> {
        let (name, ifindex) = match &flow.interface {
            Some(interface) => (Arc::clone(&interface.name), interface.index.0),
            None => (Arc::default(), 0),
        };
        let link_type = match flow.packet.first {
            First::Ethernet => ETHERNET,
            First::Network => RAW_IP,
            First::Unknown => USER0,
        };
        let interface = Interface { name, ifindex, netns: flow.netns, link_type };
        if let Some(number) = self.interfaces.get(&interface) {
            return Ok(*number);
        }
        let number = self.interfaces.len() as u32;
        self.describe(&interface)?;
        self.interfaces.insert(interface, number);
        Ok(number)
    }

    fn describe(&mut self, interface: &Interface) -> io::Result<()> {
        self.begin(INTERFACE_DESCRIPTION);
        self.u16(interface.link_type);
        self.u16(0);
        self.u32(self.snaplen);
        let name = match (&*interface.name, interface.ifindex) {
            ("", 0) => "unknown".to_owned(),
            ("", ifindex) => format!("if{ifindex}"),
            (name, _) => name.to_owned(),
        };
        self.option(INTERFACE_NAME, name.as_bytes());
        let description = format!("ifindex {}, network namespace {}", interface.ifindex, interface.netns);
        self.option(INTERFACE_DESCRIPTION_TEXT, description.as_bytes());
        self.option(INTERFACE_RESOLUTION, &[NANOSECONDS]);
        self.end()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        // The length, once it is known.
        self.u32(0);
    }

    /// Ends options and block, and writes it.
    fn end(&mut self) -> io::Result<()> {
        self.u32(0);
        let length = self.block.len() as u32 + 4;
        self.u32(length);
        self.block[4..8].copy_from_slice(&length.to_ne_bytes());
        self.sink.write_all(&self.block)
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        // Lengths have 16 bits.
        let value = &value[..value.len().min(usize::from(u16::MAX) & !3)];
        self.u16(code);
        self.u16(value.len() as u16);
        self.padded(value);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn u16(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.block.extend_from_slice(&value.to_ne_bytes());
    }
}
