//! The few rtnetlink requests that build the node's network. One request, one answer; everything happens
//! in the network namespace of the calling thread.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const NLMSG_ERROR: u16 = 2;
/// REQUEST | ACK.
const REQUEST: u16 = 0x05;
/// REQUEST | ACK | EXCL | CREATE.
const CREATE: u16 = 0x605;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

const IFF_UP: u32 = 1;
/// No duplicate address detection.
const IFA_F_NODAD: u8 = 2;
const NUD_PERMANENT: u16 = 0x80;
const RTNH_F_ONLINK: u32 = 4;

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    bytes.extend((payload.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text_attribute(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn link_header(ifindex: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    for word in [ifindex, flags, change] {
        header.extend(word.to_ne_bytes());
    }
    header
}

/// One end of a new veth pair.
pub struct VethEnd<'a> {
    pub name: &'a str,
    /// 0: whatever is free.
    pub ifindex: u32,
    pub mac: [u8; 6],
}

/// A conversation with the kernel of the current network namespace.
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        // Protocol 0 of this family is NETLINK_ROUTE.
        Ok(Self { socket: socket(AddressFamily::NETLINK, SocketType::RAW, None)? })
    }

    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(body.len() + 16);
        message.extend((body.len() as u32 + 16).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        let mut answer = [0u8; 4096];
        let (length, _) = recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty())?;
        match answer[..length] {
            [_, _, _, _, a, b, _, _, _, _, _, _, _, _, _, _, w, x, y, z, ..]
                if u16::from_ne_bytes([a, b]) == NLMSG_ERROR =>
            {
                match i32::from_ne_bytes([w, x, y, z]) {
                    0 => Ok(()),
                    error => Err(io::Error::from_raw_os_error(-error)),
                }
            }
            _ => Err(io::Error::other("unexpected answer from rtnetlink")),
        }
    }

    /// Makes a veth pair: `near` here, `far` in `far_space` (or here too).
    pub fn add_veth(
        &self,
        near: &VethEnd<'_>,
        far: &VethEnd<'_>,
        far_space: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let mut peer = link_header(far.ifindex, 0, 0);
        peer.extend(text_attribute(IFLA_IFNAME, far.name));
        peer.extend(attribute(IFLA_ADDRESS, &far.mac));
        if let Some(space) = far_space {
            peer.extend(attribute(IFLA_NET_NS_FD, &space.as_raw_fd().to_ne_bytes()));
        }
        let info = [
            text_attribute(IFLA_INFO_KIND, "veth"),
            attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer)),
        ]
        .concat();
        let mut body = link_header(near.ifindex, 0, 0);
        body.extend(text_attribute(IFLA_IFNAME, near.name));
        body.extend(attribute(IFLA_ADDRESS, &near.mac));
        body.extend(attribute(IFLA_LINKINFO, &info));
        self.request(RTM_NEWLINK, CREATE, &body)
    }

    pub fn set_up(&self, ifindex: u32) -> io::Result<()> {
        self.request(RTM_NEWLINK, REQUEST, &link_header(ifindex, IFF_UP, IFF_UP))
    }

    pub fn add_address(&self, ifindex: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
        let mut body = vec![family(ip), prefix, if ip.is_ipv6() { IFA_F_NODAD } else { 0 }, 0];
        body.extend(ifindex.to_ne_bytes());
        body.extend(attribute(IFA_LOCAL, &octets(ip)));
        body.extend(attribute(IFA_ADDRESS, &octets(ip)));
        self.request(RTM_NEWADDR, CREATE, &body)
    }

    /// A route by `gateway` on device `ifindex`; the gateway need not be on-link otherwise.
    pub fn add_route(&self, network: (IpAddr, u8), gateway: Option<IpAddr>, ifindex: u32) -> io::Result<()> {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_STATIC: u8 = 4;
        const SCOPE_LINK: u8 = 253;
        const UNICAST: u8 = 1;
        let scope = if gateway.is_none() && network.0.is_ipv4() { SCOPE_LINK } else { 0 };
        let mut body = vec![family(network.0), network.1, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, UNICAST];
        body.extend((if gateway.is_some() { RTNH_F_ONLINK } else { 0 }).to_ne_bytes());
        if network.1 > 0 {
            body.extend(attribute(RTA_DST, &octets(network.0)));
        }
        if let Some(gateway) = gateway {
            body.extend(attribute(RTA_GATEWAY, &octets(gateway)));
        }
        body.extend(attribute(RTA_OIF, &ifindex.to_ne_bytes()));
        self.request(RTM_NEWROUTE, CREATE, &body)
    }

    /// A neighbour that needs no resolution.
    pub fn add_neighbour(&self, ifindex: u32, ip: IpAddr, mac: [u8; 6]) -> io::Result<()> {
        let mut body = vec![family(ip), 0, 0, 0];
        body.extend(ifindex.to_ne_bytes());
        body.extend(NUD_PERMANENT.to_ne_bytes());
        body.extend([0, 0]);
        body.extend(attribute(NDA_DST, &octets(ip)));
        body.extend(attribute(NDA_LLADDR, &mac));
        self.request(RTM_NEWNEIGH, CREATE, &body)
    }
}
