//! Packet headers as they are on the wire. Plain views for both sides of the kernel border: the walk from
//! one header to the next belongs to the reader.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ethertypes, host order.
pub mod ethertype {
    /// From here on the field is a type; below, it is the length of an IEEE 802.3 frame.
    pub const FIRST: u16 = 0x0600;
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    /// Ethernet inside of Geneve or GRE.
    pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    /// Pause frames and other MAC control.
    pub const MAC_CONTROL: u16 = 0x8808;
    /// LACP and other slow protocols.
    pub const SLOW: u16 = 0x8809;
    pub const SERVICE_VLAN: u16 = 0x88a8;
    pub const LLDP: u16 = 0x88cc;
    /// The tag of a double-tagged frame before 802.1ad was agreed on.
    pub const OLD_QINQ: u16 = 0x9100;

    /// Whether a VLAN tag follows.
    pub const fn is_vlan(ethertype: u16) -> bool {
        matches!(ethertype, VLAN | SERVICE_VLAN | OLD_QINQ)
    }
}

/// IP protocol numbers (IPv4 `protocol`, IPv6 `next header`).
pub mod protocol {
    use network_types::ip::IpProto;

    pub const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    pub const ICMP: u8 = IpProto::Icmp as u8;
    pub const IGMP: u8 = IpProto::Igmp as u8;
    pub const TCP: u8 = IpProto::Tcp as u8;
    pub const UDP: u8 = IpProto::Udp as u8;
    pub const ROUTING: u8 = IpProto::Ipv6Route as u8;
    pub const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    pub const AUTHENTICATION: u8 = IpProto::Ah as u8;
    pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
    pub const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
    pub const SCTP: u8 = IpProto::Sctp as u8;
}

/// Headers of IPv6 packets between the fixed header and the transport that are followed at most; what
/// follows more of them is not looked at.
pub const MAX_EXTENSIONS: usize = 8;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    pub destination: [u8; 6],
    pub source: [u8; 6],
    pub ethertype: U16,
}

/// What follows an Ethertype of [`ethertype::is_vlan`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1), VLAN id (12).
    pub tci: U16,
    pub ethertype: U16,
}

/// The VLAN id in a tag control field.
pub const fn vlan_id(tci: u16) -> u16 {
    tci & 0x0fff
}

/// IPv4 header without its options (RFC 791).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_length: U16,
    pub identification: U16,
    pub flags_offset: U16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: U16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

impl Ipv4Header {
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header with its options; less than 20 in a broken packet.
    pub const fn header_length(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Offset of this fragment, in units of 8 bytes.
    pub const fn fragment_offset(&self) -> u16 {
        self.flags_offset.get() & 0x1fff
    }

    /// "More fragments".
    pub const fn has_more_fragments(&self) -> bool {
        self.flags_offset.get() & 0x2000 != 0
    }
}

/// IPv6 fixed header (RFC 8200).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    pub version_class_label: U32,
    /// Bytes after this header; 0 in a jumbogram.
    pub payload_length: U16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

impl Ipv6Header {
    pub const fn version(&self) -> u8 {
        (self.version_class_label.get() >> 28) as u8
    }
}

/// The first two bytes of hop-by-hop, routing, destination options and authentication headers.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtensionHeader {
    pub next_header: u8,
    pub length: u8,
}

impl ExtensionHeader {
    /// Bytes of the whole header; `protocol` says which kind it is.
    pub const fn byte_length(&self, protocol: u8) -> usize {
        match protocol {
            protocol::AUTHENTICATION => (self.length as usize + 2) * 4,
            _ => (self.length as usize + 1) * 8,
        }
    }
}

/// IPv6 fragment header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    pub next_header: u8,
    pub reserved: u8,
    pub offset_flags: U16,
    pub identification: U32,
}

impl FragmentHeader {
    /// Offset of this fragment, in units of 8 bytes.
    pub const fn fragment_offset(&self) -> u16 {
        self.offset_flags.get() >> 3
    }

    /// "More fragments".
    pub const fn has_more_fragments(&self) -> bool {
        self.offset_flags.get() & 1 != 0
    }
}

/// How TCP, UDP and SCTP begin.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ports {
    pub source: U16,
    pub destination: U16,
}

/// TCP header up to its flags.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TcpStart {
    pub ports: Ports,
    pub sequence: U32,
    pub acknowledgment: U32,
    pub offset_flags: U16,
}

impl TcpStart {
    /// The low nine bits: FIN = bit 0 … CWR = bit 7, NS = bit 8.
    pub const fn flags(&self) -> u16 {
        self.offset_flags.get() & 0x01ff
    }
}

/// How ICMP and ICMPv6 begin.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcmpStart {
    pub kind: u8,
    pub code: u8,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    pub ports: Ports,
    pub length: U16,
    pub checksum: U16,
}

/// VXLAN (RFC 7348).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VxlanHeader {
    pub flags: u8,
    pub reserved: [u8; 3],
    /// Network identifier in the upper 24 bits.
    pub vni_reserved: U32,
}

impl VxlanHeader {
    /// The flag that every VXLAN packet has: "the network identifier is valid".
    pub const fn has_vni(&self) -> bool {
        self.flags & 0x08 != 0
    }

    pub const fn vni(&self) -> u32 {
        self.vni_reserved.get() >> 8
    }
}

/// Geneve without its options (RFC 8926).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GeneveHeader {
    pub version_options: u8,
    pub flags: u8,
    /// Ethertype of what is inside.
    pub protocol: U16,
    /// Network identifier in the upper 24 bits.
    pub vni_reserved: U32,
}

impl GeneveHeader {
    pub const fn version(&self) -> u8 {
        self.version_options >> 6
    }

    /// Bytes of options after this header.
    pub const fn options_length(&self) -> usize {
        (self.version_options & 0x3f) as usize * 4
    }

    pub const fn vni(&self) -> u32 {
        self.vni_reserved.get() >> 8
    }
}

const _: () = {
    assert!(size_of::<EthernetHeader>() == 14);
    assert!(size_of::<VlanTag>() == 4);
    assert!(size_of::<Ipv4Header>() == 20);
    assert!(size_of::<Ipv6Header>() == 40);
    assert!(size_of::<FragmentHeader>() == 8);
    assert!(size_of::<TcpStart>() == 14);
    assert!(size_of::<UdpHeader>() == 8);
    assert!(size_of::<VxlanHeader>() == 8);
    assert!(size_of::<GeneveHeader>() == 8);
};
