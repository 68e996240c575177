use proptest::prelude::*;
use tracer_common::id::Identity;

use super::super::fixture::{Aligned, drop_v1, free, lone_free, message, note, tcp};
use super::*;

/// What went out: source identity of the message (0 without one), skb of the free (0 without one).
type Out = Vec<(u32, u64)>;

#[derive(Default)]
struct Run {
    join: Join,
    out: Out,
}

impl Run {
    fn push(&mut self, record: &Aligned) -> &mut Self {
        let out = &mut self.out;
        self.join.push(Record::parse(record.as_bytes()).unwrap(), |joined| out.push(seen(&joined)));
        self
    }

    fn expire(&mut self, now: u64) -> &mut Self {
        let out = &mut self.out;
        self.join.expire(BootTime(now), |joined| out.push(seen(&joined)));
        self
    }

    fn finish(&mut self) -> &mut Self {
        let out = &mut self.out;
        self.join.finish(|joined| out.push(seen(&joined)));
        self
    }

    /// Every record is in exactly one counter, or still waiting.
    fn check(&self, expected: &[(u32, u64)]) {
        assert_eq!(self.out, expected);
        let c = self.join.counters();
        let counted = 2 * c.joined + c.messages_alone + c.frees_alone + c.late_frees;
        let others = c.traces + c.verdicts + c.debugs + c.unreadable;
        assert_eq!(c.records, counted + others + self.join.waiting as u64, "{c:?}");
    }
}

fn seen(joined: &Joined<'_>) -> (u32, u64) {
    let Identity(identity) = joined.message.map_or(Identity(0), |message| message.drop.source_identity);
    (identity, joined.free.map_or(0, |free| free.header.skb))
}

/// A drop message told apart by its source identity.
fn dropped(cpu: u32, skb: u64, identity: u32) -> Aligned {
    message(cpu, skb, drop_v1(10, (identity, 0), 0).as_bytes(), &tcp("10.0.0.1", "10.0.0.2"))
}

fn xdp_dropped(cpu: u32, data: u64, identity: u32) -> Aligned {
    let mut record = dropped(cpu, data, identity);
    record.header().kind = kind::XDP_MESSAGE;
    record
}

fn at(mut record: Aligned, time_ns: u64) -> Aligned {
    record.header().time_ns = time_ns;
    record
}

#[test]
fn message_and_its_free_are_one_event() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1));
    run.check(&[]);
    run.push(&free(0, 0xa));
    run.check(&[(1, 0xa)]);
    assert_eq!(run.join.counters().joined, 1);
    run.finish().check(&[(1, 0xa)]);
}

#[test]
fn held_message_keeps_its_bytes() {
    let (meta, packet) = (drop_v1(10, (1, 2), 0), tcp("10.0.0.1", "10.0.0.2"));
    let mut join = Join::default();
    let record = message(3, 0xa, meta.as_bytes(), &packet);
    join.push(Record::parse(record.as_bytes()).unwrap(), |_| panic!("too early"));
    drop(record);
    let free = free(3, 0xa);
    let mut events = 0;
    join.push(Record::parse(free.as_bytes()).unwrap(), |joined| {
        let message = joined.message.unwrap();
        assert_eq!((message.record.meta, message.record.packet), (meta.as_bytes(), &packet[..]));
        assert_eq!(message.record.header.cpu, 3);
        events += 1;
    });
    assert_eq!(events, 1);
}

#[test]
fn cpus_do_not_mix() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1)).push(&dropped(7, 0xb, 2)).push(&free(7, 0xb)).push(&free(0, 0xa));
    run.check(&[(2, 0xb), (1, 0xa)]);
}

#[test]
fn next_message_of_a_cpu_lets_the_one_before_go() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1)).push(&dropped(0, 0xb, 2));
    run.check(&[(1, 0)]);
    run.push(&free(0, 0xb)).check(&[(1, 0), (2, 0xb)]);
}

#[test]
fn address_used_again_joins_the_newer_message() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1)).push(&dropped(0, 0xa, 2)).push(&free(0, 0xa));
    run.check(&[(1, 0), (2, 0xa)]);
}

#[test]
fn free_without_mark_is_an_event_of_its_own() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xabc, 1)).push(&lone_free(&[])).push(&free(0, 0xabc));
    run.check(&[(0, 0xabc), (1, 0xabc)]);
}

#[test]
fn message_without_free_goes_out_after_the_hold_time() {
    let mut run = Run::default();
    run.push(&at(dropped(0, 0xa, 1), 1000));
    assert_eq!(run.join.next_expiry(), Some(BootTime(1000 + HOLD_NS)));
    run.expire(1000 + HOLD_NS - 1).check(&[]);
    run.expire(1000 + HOLD_NS).check(&[(1, 0)]);
    assert_eq!(run.join.next_expiry(), None);
    run.expire(u64::MAX).finish().check(&[(1, 0)]);
}

#[test]
fn free_that_comes_after_its_message_went_out_makes_no_second_event() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1)).expire(u64::MAX).push(&free(0, 0xa));
    run.check(&[(1, 0)]);
    assert_eq!(run.join.counters().late_frees, 1);
    // The mark is used up: the next one is about something else.
    run.push(&free(0, 0xa)).check(&[(1, 0), (0, 0xa)]);
}

#[test]
fn marked_free_without_message_is_shown_and_counted() {
    let mut run = Run::default();
    run.push(&free(0, 0xa)).push(&free(5, 0xb));
    run.check(&[(0, 0xa), (0, 0xb)]);
    assert_eq!((run.join.counters().orphans, run.join.counters().frees_alone), (2, 2));
}

#[test]
fn marked_free_of_another_packet_leaves_the_message_waiting() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1)).push(&free(0, 0xb));
    run.check(&[(0, 0xb)]);
    run.push(&free(0, 0xa)).check(&[(0, 0xb), (1, 0xa)]);
}

#[test]
fn xdp_message_joins_the_marked_free_of_its_cpu() {
    // The message knows the packet data, the free the sk_buff that was built around it.
    let mut run = Run::default();
    run.push(&xdp_dropped(0, 0xd000, 1)).push(&free(0, 0xa));
    run.check(&[(1, 0xa)]);
}

#[test]
fn native_xdp_messages_wait_for_nothing_but_the_next_one() {
    let mut run = Run::default();
    for identity in 1..=4 {
        run.push(&xdp_dropped(0, 0xd000, identity));
    }
    run.check(&[(1, 0), (2, 0), (3, 0)]);
    run.finish().check(&[(1, 0), (2, 0), (3, 0), (4, 0)]);
}

#[test]
fn other_notifications_are_counted_by_kind() {
    let mut run = Run::default();
    for (kind, length) in [(4u8, 48), (5, 32), (5, 40), (2, 20), (3, 24), (9, 40), (1, 31)] {
        let mut meta = vec![0; length];
        meta[0] = kind;
        run.push(&message(0, 0xa, &meta, &[]));
    }
    run.check(&[]);
    let c = run.join.counters();
    assert_eq!((c.traces, c.verdicts, c.debugs, c.unreadable), (1, 2, 2, 2));
}

#[test]
fn cpu_number_beyond_all_machines_is_not_held() {
    let mut run = Run::default();
    run.push(&dropped(u32::MAX, 0xa, 1)).check(&[(1, 0)]);
}

#[test]
fn note_that_contradicts_the_message_is_counted() {
    for (words, disagreeing) in [
        (note((1, 0), 0), 0),
        ([1, 0, 134, 0, 2101 << 16 | 0x0202], 1),
        ([1, 0, 133, 0, 2102 << 16 | 0x0202], 1),
        ([0; 5], 0),
    ] {
        let mut free = free(0, 0xa);
        free.header().flags |= flag::HAS_NOTE;
        free.header().note = words;
        let mut run = Run::default();
        run.push(&dropped(0, 0xa, 1)).push(&free).check(&[(1, 0xa)]);
        assert_eq!(run.join.counters().disagreeing, disagreeing, "{words:?}");
    }
}

/// What happens on a node: a drop message, a free, or the reader's time running out. `sent`: the ring had room.
#[derive(Clone, Copy, Debug)]
enum Step {
    Message { cpu: u32, skb: u64, sent: bool, xdp: bool },
    Free { cpu: u32, skb: u64, sent: bool },
    Expire,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u32..3, 1u64..4, prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(cpu, skb, sent, xdp)| Step::Message { cpu, skb, sent, xdp }),
        8 => (0u32..3, 1u64..4, prop::bool::weighted(0.8)).prop_map(|(cpu, skb, sent)| Step::Free { cpu, skb, sent }),
        1 => Just(Step::Expire),
    ]
}

/// The kernel's half of the join, one place per CPU: (skb, 0 for XDP; whether the message was sent).
type Pending = [Option<(u64, bool)>; 3];

/// Plays a step; returns how many events it is worth in the end.
fn play(step: Step, pending: &mut Pending, run: &mut Run) -> usize {
    match step {
        Step::Message { cpu, skb, sent, xdp } => {
            pending[cpu as usize] = Some((if xdp { 0 } else { skb }, sent));
            if sent {
                run.push(&if xdp { xdp_dropped(cpu, 0xd000 + skb, 1) } else { dropped(cpu, skb, 1) });
            }
            usize::from(sent)
        }
        Step::Free { cpu, skb, sent } => {
            let place = &mut pending[cpu as usize];
            let own = place.take_if(|(expected, _)| *expected == skb || *expected == 0);
            let marked = own.is_some_and(|(_, message_sent)| message_sent);
            if sent {
                let mut record = free(cpu, skb);
                record.header().flags = if marked { flag::SAME_DROP } else { 0 };
                run.push(&record);
            }
            usize::from(sent && !marked)
        }
        Step::Expire => {
            run.expire(u64::MAX);
            0
        }
    }
}

proptest! {
    #[test]
    fn every_drop_is_one_event_whatever_the_ring_loses(steps in prop::collection::vec(any_step(), 0..60)) {
        let (mut run, mut pending) = (Run::default(), Pending::default());
        let expected: usize = steps.into_iter().map(|step| play(step, &mut pending, &mut run)).sum();
        run.finish();
        prop_assert_eq!(run.out.len(), expected);
        prop_assert_eq!(run.join.counters().orphans, 0);
        let out = run.out.clone();
        run.check(&out);
    }
}

/// By hand, ABI notes 4.4 and 4.5: type, and the lengths of their first generations.
#[test]
fn what_is_no_drop_comes_back_at_once_and_leaves_a_waiting_drop_alone() {
    let mut run = Run::default();
    run.push(&dropped(0, 0xa, 1));
    for kind in [4, 5] {
        let mut meta = [0; 32];
        meta[0] = kind;
        let record = message(0, 0xa, &meta, &tcp("10.0.0.1", "10.0.0.2"));
        let record = Record::parse(record.as_bytes()).unwrap();
        let noticed = run.join.push(record, |joined| panic!("{joined:?}")).unwrap();
        assert_eq!(matches!(noticed.told, Told::Trace(_)), kind == 4);
        assert_eq!(noticed.record.packet, tcp("10.0.0.1", "10.0.0.2"));
    }
    run.push(&free(0, 0xa)).check(&[(1, 0xa)]);
    let counters = run.join.counters();
    assert_eq!((counters.traces, counters.verdicts, counters.drop_messages, counters.joined), (1, 1, 1, 1));
}
