use tracer::kernel::{btf::Btf, drop_reason::DropReasons};
use tracer::probe::{Plan, Probe, taps::*};
fn main() {
    let btf = Btf::vmlinux().unwrap();
    let mut reasons = DropReasons::read(&btf).unwrap();
    let plan = Plan { filter: tracer_common::config::Filter::ALL, snaplen: 128, message_types: 2, notes_only: false, ring_bytes: 8 << 20, message_tap: MessageTap::Auto, events_maps: vec![tracer_common::id::MapId(3)], debug: false };
    let t = std::time::Instant::now();
    let mut probe = Probe::start(&plan, &btf, &reasons).unwrap_or_else(|e| panic!("{e}: {e:?}"));
    eprintln!("{:?} {:?}", probe.taps, t.elapsed());
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hi", "127.0.0.1:9").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let syms = tracer::kernel::kallsyms::Symbols::load().unwrap();
    use zerocopy::FromBytes;
    probe.ring.drain(20, |r| { let (h, rest) = tracer_common::event::EventHeader::read_from_prefix(r).unwrap(); println!("{:?} {} {:?} {:?} {:x?}", h, h.reason, reasons.name(h.reason), syms.resolve(h.location), rest); });
    for t in Tap::ALL { println!("{:?} {:?} misses {:?}", t, probe.counters.read(t), probe.misses(t)); }
}
