//! Ids of Cilium's source files, as drop messages, notes and metrics keys carry them. The table was
//! renumbered more than once, so an id means something only together with the release that sent it.

use super::release::{Release, ReleaseRange};

/// Releases with a column in [`FILES`], in its order.
const COLUMNS: [Release; 6] = [Release(14), Release(15), Release(16), Release(17), Release(18), Release(19)];

/// Id, and the file's name per release; "" where the release does not use the id.
#[rustfmt::skip]
const FILES: [(u8, [&str; COLUMNS.len()]); 24] = [
    (1, ["bpf_host.c", "bpf_host.c", "bpf_host.c", "bpf_host.c", "bpf_host.c", "bpf_host.c"]),
    (2, ["bpf_lxc.c", "bpf_lxc.c", "bpf_lxc.c", "bpf_lxc.c", "bpf_lxc.c", "bpf_lxc.c"]),
    (3, ["bpf_overlay.c", "bpf_overlay.c", "bpf_overlay.c", "bpf_overlay.c", "bpf_overlay.c", "bpf_overlay.c"]),
    (4, ["bpf_xdp.c", "bpf_xdp.c", "bpf_xdp.c", "bpf_xdp.c", "bpf_xdp.c", "bpf_xdp.c"]),
    (5, ["", "", "bpf_sock.c", "bpf_sock.c", "bpf_sock.c", "bpf_sock.c"]),
    (6, ["", "", "bpf_network.c", "bpf_network.c", "bpf_network.c", "bpf_network.c"]),
    (7, ["", "", "bpf_wireguard.c", "bpf_wireguard.c", "bpf_wireguard.c", "bpf_wireguard.c"]),
    (101, ["arp.h", "arp.h", "arp.h", "arp.h", "arp.h", "drop.h"]),
    (102, ["drop.h", "drop.h", "drop.h", "drop.h", "drop.h", "srv6.h"]),
    (103, ["egress_policies.h", "egress_policies.h", "srv6.h", "srv6.h", "srv6.h", "icmp6.h"]),
    (104, ["icmp6.h", "icmp6.h", "icmp6.h", "icmp6.h", "icmp6.h", "nodeport.h"]),
    (105, ["nodeport.h", "nodeport.h", "nodeport.h", "nodeport.h", "nodeport.h", "lb.h"]),
    (106, ["", "lb.h", "lb.h", "lb.h", "lb.h", "mcast.h"]),
    (107, ["", "", "mcast.h", "mcast.h", "mcast.h", "ipv4.h"]),
    (108, ["", "", "ipv4.h", "ipv4.h", "ipv4.h", "conntrack.h"]),
    (109, ["", "", "conntrack.h", "conntrack.h", "conntrack.h", "local_delivery.h"]),
    (110, ["", "", "l3.h", "l3.h", "local_delivery.h", "trace.h"]),
    (111, ["", "", "trace.h", "trace.h", "trace.h", "encap.h"]),
    (112, ["", "", "encap.h", "encap.h", "encap.h", "host_firewall.h"]),
    (113, ["", "", "encrypt.h", "encrypt.h", "encrypt.h", "nodeport_egress.h"]),
    (114, ["", "", "", "host_firewall.h", "host_firewall.h", "ipv6.h"]),
    (115, ["", "", "", "nodeport_egress.h", "nodeport_egress.h", "classifiers.h"]),
    (116, ["", "", "", "", "ipv6.h", ""]),
    (117, ["", "", "", "", "classifiers.h", ""]),
];

/// A file, and how sure its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName {
    pub name: &'static str,
    /// False when the exact release is not known, or is newer than the table.
    pub certain: bool,
}

/// The name that all releases in `range` agree on; releases newer than the table are taken to number their
/// files as the newest one in it. `None`: they disagree, or none knows the id.
pub fn name(id: u8, range: ReleaseRange) -> Option<FileName> {
    let (_, names) = FILES.iter().find(|row| row.0 == id)?;
    let newest = COLUMNS[COLUMNS.len() - 1];
    let asked = |column: Release| range.contains(column) || (column == newest && range.highest > newest);
    let mut given = COLUMNS.iter().zip(names).filter(|(column, name)| asked(**column) && !name.is_empty());
    let (column, &name) = given.next()?;
    given.all(|(_, other)| *other == name).then_some(FileName { name, certain: range.is_exactly(*column) })
}

/// A name of the table, as the table spells it. `None`: it is not in there.
pub fn known(name: &str) -> Option<&'static str> {
    let mut names = FILES.iter().flat_map(|(_, names)| names.iter().copied());
    names.find(|known| *known == name && !name.is_empty())
}

/// Whether any known release uses the id.
pub fn is_known(id: u8) -> bool {
    FILES.iter().any(|row| row.0 == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_release(id: u8, minor: u8) -> Option<&'static str> {
        name(id, ReleaseRange::exactly(Release(minor))).map(|file| file.name)
    }

    /// Section 5.4 of the ABI notes, column by column.
    #[test]
    fn each_release_has_as_many_files_as_published() {
        for (minor, count) in [(14, 9), (15, 10), (16, 20), (17, 22), (18, 24), (19, 22)] {
            let found = (0..=255).filter(|id| in_release(*id, minor).is_some()).count();
            assert_eq!(found, count, "1.{minor}");
        }
    }

    #[test]
    fn the_same_id_changes_its_name_between_releases() {
        assert_eq!(in_release(110, 17), Some("l3.h"));
        assert_eq!(in_release(110, 18), Some("local_delivery.h"));
        assert_eq!(in_release(110, 19), Some("trace.h"));
        assert_eq!(in_release(110, 15), None);
    }

    #[test]
    fn a_range_names_only_what_its_releases_agree_on() {
        let old = ReleaseRange { lowest: Release(13), highest: Release(17) };
        assert_eq!(name(105, old), Some(FileName { name: "nodeport.h", certain: false }));
        assert_eq!(name(115, old), Some(FileName { name: "nodeport_egress.h", certain: false }));
        assert_eq!(name(103, old), None);
        assert_eq!(name(2, ReleaseRange::ANY), Some(FileName { name: "bpf_lxc.c", certain: false }));
        assert_eq!(name(101, ReleaseRange::ANY), None);
    }

    #[test]
    fn a_release_newer_than_the_table_is_named_as_the_newest_but_not_for_certain() {
        let newer = ReleaseRange::exactly(Release(20));
        assert_eq!(name(101, newer), Some(FileName { name: "drop.h", certain: false }));
        assert!(name(101, ReleaseRange::exactly(Release(19))).unwrap().certain);
    }

    #[test]
    fn an_unknown_id_has_no_name() {
        assert_eq!(name(0, ReleaseRange::ANY), None);
        assert_eq!(name(200, ReleaseRange::ANY), None);
        assert!(!is_known(8) && is_known(7));
    }
}
