//! IP protocols in the words of cilium-dbg.

use super::listing::value;

/// `None`: a protocol that Cilium's datapath does not know.
pub const fn name(number: u8) -> Option<&'static str> {
    match number {
        0 => Some("ANY"),
        1 => Some("ICMP"),
        6 => Some("TCP"),
        17 => Some("UDP"),
        58 => Some("ICMPv6"),
        132 => Some("SCTP"),
        _ => None,
    }
}

/// The name, else the number.
pub fn write(out: &mut Vec<u8>, number: u8) {
    match name(number) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => value::number(out, number),
    }
}
