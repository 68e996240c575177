//! Two questions to rtnetlink: which devices there are, and which BPF filters hang on one. Everything is about
//! the network namespace of the calling thread. Nothing is changed, and no right is needed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use tracer_common::id::IfIndex;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// REQUEST | ROOT | MATCH.
const DUMP: u16 = 0x301;

const HEADER: usize = 16;
/// Bytes of `struct ifinfomsg` and `struct tcmsg`.
const LINK_HEADER: usize = 16;
const FILTER_HEADER: usize = 20;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// The attribute's number without flags for nesting and byte order.
const KIND_MASK: u16 = 0x3fff;

/// The kernel fills no more than this at a time.
const BUFFER: usize = 64 * 1024;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub ifindex: IfIndex,
    pub name: String,
    /// `veth`, `netkit`, `vxlan`, …; empty for hardware.
    pub kind: String,
}

/// A BPF program that hangs on a device as a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Kernels before 4.13 do not tell.
    pub program: Option<u32>,
    /// As whoever attached it called it.
    pub name: String,
}

/// Which of the two hooks of clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// TC_H_MAKE(TC_H_CLSACT, …).
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// A conversation with the kernel.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        // Protocol 0 of this family is NETLINK_ROUTE.
        Ok(Self { socket: socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)? })
    }

    pub fn links(&self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(RTM_GETLINK, &[0; LINK_HEADER], |kind, body| {
            if kind == RTM_NEWLINK {
                links.extend(link(body));
            }
        })?;
        Ok(links)
    }

    pub fn filters(&self, ifindex: IfIndex, direction: Direction) -> io::Result<Vec<Filter>> {
        let mut request = [0; FILTER_HEADER];
        request[4..8].copy_from_slice(&ifindex.0.to_ne_bytes());
        request[12..16].copy_from_slice(&direction.parent().to_ne_bytes());
        let mut filters = Vec::new();
        self.dump(RTM_GETTFILTER, &request, |kind, body| {
            if kind == RTM_NEWTFILTER {
                filters.extend(filter(body));
            }
        })?;
        Ok(filters)
    }

    /// Shows the kind and the body of every message of the answer.
    fn dump(&self, kind: u16, body: &[u8], mut visit: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(DUMP.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        send(&self.socket, &request, SendFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let (length, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty())?;
            if messages(&buffer[..length], &mut visit)? {
                return Ok(());
            }
        }
    }
}

/// Takes one datagram apart; true at the end of the answer.
fn messages(mut rest: &[u8], visit: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
    while rest.len() >= HEADER {
        let length = (word(rest, 0).unwrap_or(0) as usize).clamp(HEADER, rest.len());
        let kind = half(rest, 4).unwrap_or(0);
        let body = &rest[HEADER..length];
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => match word(body, 0).unwrap_or(0) as i32 {
                0 => return Ok(true),
                error => return Err(io::Error::from_raw_os_error(error.wrapping_neg())),
            },
            kind => visit(kind, body),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn link(body: &[u8]) -> Option<Link> {
    let ifindex = IfIndex(word(body, 4)?);
    let (mut name, mut kind) = (None, String::new());
    for (number, value) in attributes(body.get(LINK_HEADER..)?) {
        match number {
            IFLA_IFNAME => name = Some(text(value)),
            IFLA_LINKINFO => kind = find(value, IFLA_INFO_KIND).map(text).unwrap_or_default(),
            _ => {}
        }
    }
    Some(Link { ifindex, name: name?, kind })
}

/// `None` for filters of another kind, and for the line that only tells the priority.
fn filter(body: &[u8]) -> Option<Filter> {
    let attributes = body.get(FILTER_HEADER..)?;
    if find(attributes, TCA_KIND).map(text)? != "bpf" {
        return None;
    }
    let options = find(attributes, TCA_OPTIONS)?;
    let program = find(options, TCA_BPF_ID).and_then(|value| word(value, 0));
    let name = find(options, TCA_BPF_NAME).map(text).unwrap_or_default();
    (program.is_some() || !name.is_empty()).then_some(Filter { program, name })
}

fn find(attributes_of: &[u8], number: u16) -> Option<&[u8]> {
    attributes(attributes_of).find(|(found, _)| *found == number).map(|(_, value)| value)
}

/// Number and value of each attribute; ends at the first that is cut.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(rest, 0)?);
        let number = half(rest, 2)? & KIND_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_lists_its_loopback_device() {
        let links = Netlink::open().unwrap().links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(
            Some(lo.ifindex.0.to_string()),
            std::fs::read_to_string("/sys/class/net/lo/ifindex").ok().map(|t| t.trim().to_owned())
        );
    }

    #[test]
    fn cut_messages_end_and_do_not_panic() {
        for length in 0..40u8 {
            let mut bytes = vec![0xff; usize::from(length)];
            if let Some(first) = bytes.first_mut() {
                *first = length;
            }
            let _ = messages(&bytes, &mut |_, body| {
                let _ = (link(body), filter(body));
            });
            assert!(attributes(&bytes).count() < 10);
        }
        let zero_length = [0, 0, 3, 0];
        assert_eq!(attributes(&zero_length).count(), 0);
    }
}
