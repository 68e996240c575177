use super::*;
use crate::cilium::lb::{Backend, Client, slot_value};

const ACTIVE: State = State::Active;

fn frontend(text: &str) -> Frontend {
    Frontend { address: text.parse().unwrap(), protocol: 6, scope: 0 }
}

/// Bytes as in the map: word, count, id of the service, flags, quarantined.
fn slot(word: u32, count: u16, id: u16, flags: [u8; 2], quarantined: u16) -> Slot {
    let bytes = [
        &word.to_ne_bytes()[..],
        &count.to_ne_bytes(),
        &id.to_be_bytes(),
        &flags,
        &quarantined.to_ne_bytes(),
    ];
    slot_value(&bytes.concat()).unwrap()
}

fn backend(state: State) -> Backend {
    Backend { address: "10.0.2.9:8080".parse().unwrap(), protocol: 6, state, cluster_id: 0, zone: 0 }
}

const VIP: &str = "10.96.0.10:80";

/// A service 7 with backends 1 and 2, as it should be.
fn healthy() -> Balancer {
    let mut balancer = Balancer { affinity_match: Some(BTreeSet::new()), ..Balancer::default() };
    let family = &mut balancer.v4;
    let key = |slot| SlotKey { frontend: frontend(VIP), slot };
    family.slots.insert(key(0), slot(0, 2, 7, [flag::ROUTABLE, 0], 0));
    family.slots.insert(key(1), slot(1, 0, 7, [0, 0], 0));
    family.slots.insert(key(2), slot(2, 0, 7, [0, 0], 0));
    family.backends.extend([(1, backend(ACTIVE)), (2, backend(ACTIVE))]);
    family.reverse_nat.insert(7, VIP.parse().unwrap());
    balancer
}

/// What is found after a change to the healthy one.
fn found(change: impl FnOnce(&mut Balancer)) -> Vec<(Severity, Problem)> {
    let mut balancer = healthy();
    change(&mut balancer);
    check(&balancer).iter().map(|finding| (finding.problem.severity(), finding.problem)).collect()
}

fn set(balancer: &mut Balancer, slot: u16, value: Slot) {
    balancer.v4.slots.insert(SlotKey { frontend: frontend(VIP), slot }, value);
}

#[test]
fn nothing_is_wrong_with_a_healthy_service() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_frontend_without_backends_drops_everything() {
    let without = |flags, quarantined| {
        found(|b| {
            b.v4.slots.retain(|key, _| key.slot == 0 || key.slot <= quarantined);
            b.v4.backends.retain(|id, _| *id <= u32::from(quarantined));
            set(b, 0, slot(0, 0, 7, flags, quarantined));
        })
    };
    assert_eq!(without([0, 0], 0), [(Severity::Error, Problem::NoBackends { local: false })]);
    assert_eq!(
        without([flag::EXT_LOCAL_SCOPE, 0], 0),
        [(Severity::Info, Problem::NoBackends { local: true })]
    );
    assert_eq!(without([0, 0], 1), [(Severity::Error, Problem::NoActiveBackend { quarantined: 1 })]);
}

#[test]
fn backends_that_leave_are_told_when_no_other_is_left() {
    let one_leaves = found(|b| b.v4.backends.extend([(1, backend(State::Terminating))]));
    assert_eq!(one_leaves, []);
    let all_leave = found(|b| b.v4.backends.values_mut().for_each(|b| b.state = State::Terminating));
    assert_eq!(all_leave, [(Severity::Warning, Problem::OnlyLeavingBackends)]);
}

#[test]
fn a_quarantined_backend_beside_an_active_one_is_worth_knowing() {
    let found = found(|b| set(b, 0, slot(0, 1, 7, [0, 0], 1)));
    assert_eq!(found, [(Severity::Info, Problem::SomeQuarantined { quarantined: 1, active: 1 })]);
}

#[test]
fn a_slot_that_points_nowhere_is_an_error_unless_it_is_quarantined() {
    let remove = |b: &mut Balancer| b.v4.backends.retain(|id, _| *id != 2);
    let dangling = |active| Problem::DanglingBackend { slot: 2, backend_id: 2, active };
    assert_eq!(found(remove), [(Severity::Error, dangling(true))]);
    let quarantined = found(|b| {
        remove(b);
        set(b, 0, slot(0, 1, 7, [0, 0], 1));
    });
    assert!(quarantined.contains(&(Severity::Warning, dangling(false))));
}

#[test]
fn counts_and_slots_must_agree() {
    let missing = found(|b| set(b, 0, slot(0, 3, 7, [0, 0], 0)));
    assert_eq!(missing, [(Severity::Error, Problem::MissingSlot { slot: 3, count: 3 })]);
    let stray = found(|b| set(b, 0, slot(0, 1, 7, [0, 0], 0)));
    assert_eq!(stray, [(Severity::Warning, Problem::StraySlot { slot: 2, count: 1 })]);
    let alone = found(|b| b.v4.slots.retain(|key, _| key.slot != 0));
    let alone: Vec<Problem> = alone.into_iter().map(|(_, problem)| problem).collect();
    assert_eq!(alone, [Problem::SlotWithoutFrontend { slot: 1 }, Problem::SlotWithoutFrontend { slot: 2 }]);
    let other = found(|b| set(b, 2, slot(2, 0, 8, [0, 0], 0)));
    assert_eq!(other, [(Severity::Error, Problem::SlotOfOtherService { slot: 2, found: 8 })]);
}

#[test]
fn holes_in_reverse_nat_are_found_from_both_sides() {
    let hole = found(|b| b.v4.reverse_nat.clear());
    assert_eq!(hole, [(Severity::Error, Problem::NoReverseNat)]);
    let elsewhere: SocketAddr = "10.96.0.99:80".parse().unwrap();
    let wrong = found(|b| b.v4.reverse_nat.extend([(7, elsewhere)]));
    assert_eq!(wrong, [(Severity::Error, Problem::ReverseNatDiffers { found: elsewhere })]);
    let stray = found(|b| b.v4.reverse_nat.extend([(9, elsewhere)]));
    assert_eq!(stray, [(Severity::Info, Problem::StrayReverseNat { address: elsewhere })]);
}

#[test]
fn session_affinity_needs_every_backend_of_its_service() {
    let affine = |b: &mut Balancer| set(b, 0, slot(10800, 2, 7, [flag::AFFINITY, 0], 0));
    let half = found(|b| {
        affine(b);
        b.affinity_match = Some(BTreeSet::from([(1, 7)]));
    });
    assert_eq!(half, [(Severity::Warning, Problem::AffinityNotAllowed { backend_id: 2 })]);
    let unread = found(|b| {
        affine(b);
        b.affinity_match = None;
    });
    assert_eq!(unread, []);
}

#[test]
fn clients_and_connections_of_a_backend_that_is_gone_are_found() {
    let client = Client::Namespace(1);
    let found = found(|b| {
        b.affinity_match = Some(BTreeSet::from([(9, 7)]));
        b.v4.affinity = vec![(client, 7, 9), (client, 7, 1)];
        b.v4.connections.extend([((7, 9), 3), ((7, 1), 5), ((0, 0), 1)]);
    });
    assert_eq!(
        found,
        [
            (Severity::Warning, Problem::AffinityMatchDangling { backend_id: 9 }),
            (Severity::Warning, Problem::StaleConnections { backend_id: 9 }),
            (Severity::Info, Problem::AffinityDangling { backend_id: 9 }),
        ]
    );
}

#[test]
fn a_service_of_the_proxy_needs_its_port_and_no_backends() {
    let l7 = |port: u16| {
        let word = u32::from(port.to_be());
        found(|b| {
            b.v4.slots.retain(|key, _| key.slot == 0);
            b.v4.backends.clear();
            set(b, 0, slot(word, 0, 7, [0, flag2::L7_LOAD_BALANCER], 0));
        })
    };
    assert_eq!(l7(14001), []);
    assert_eq!(l7(0), [(Severity::Error, Problem::NoProxyPort)]);
}

#[test]
fn a_backend_of_no_frontend_is_worth_knowing() {
    let found = found(|b| b.v4.backends.extend([(5, backend(ACTIVE))]));
    assert_eq!(found, [(Severity::Info, Problem::UnusedBackend { backend_id: 5 })]);
}

#[test]
fn the_worst_comes_first() {
    let found = found(|b| {
        b.v4.backends.insert(5, backend(ACTIVE));
        b.v4.reverse_nat.clear();
    });
    assert_eq!(found[0].0, Severity::Error);
    assert_eq!(found[1].0, Severity::Info);
}
