//! IP protocols in the words of cilium-dbg.

use super::listing::value;

const NAMES: [(u8, &str); 8] = [
    (0, "ANY"),
    (1, "ICMP"),
    (2, "IGMP"),
    (6, "TCP"),
    (17, "UDP"),
    (58, "ICMPv6"),
    (112, "VRRP"),
    (132, "SCTP"),
];

/// `None`: a protocol that is told by its number.
pub fn name(protocol: u8) -> Option<&'static str> {
    NAMES.iter().find(|(number, _)| *number == protocol).map(|(_, name)| *name)
}

/// The name, else the number.
pub fn write(out: &mut Vec<u8>, protocol: u8) {
    match name(protocol) {
        Some(name) => value::word(out, name),
        None => value::number(out, protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_without_a_name_is_its_number() {
        for (protocol, expected) in [(6, "TCP"), (58, "ICMPv6"), (0, "ANY"), (47, "47")] {
            let mut out = Vec::new();
            write(&mut out, protocol);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
