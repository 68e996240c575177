//! The pieces between ring and output, one by one and together, per event. `cargo xtask bench pieces` reads the figures.

mod load;

use std::hint::black_box;
use std::io;

use divan::Bencher;
use load::{Chain, pod_to_pod, pod_to_world};
use tracer::correlate::join::Join;
use tracer::correlate::noise;
use tracer::correlate::record::Record;
use tracer::filter::FilterSet;
use tracer::filter::build::FilterBuilder;
use tracer::model::policy::{Direction, Entry, Key, Order, Traffic};
use tracer::output::options::Format;
use tracer::policy::gate::{Facts, Settings, judge_quickly};
use tracer::policy::table::Table;
use tracer_common::id::Identity;

fn main() {
    divan::main();
}

fn filter() -> FilterSet {
    let mut flags = FilterBuilder::default();
    for (flag, value) in [("label", "app in (server,client)"), ("pod", "client"), ("protocol", "tcp")] {
        flags.set(flag, value).expect("a good filter");
    }
    flags.finish().expect("a good filter")
}

fn chain(format: Format) -> Chain<io::Sink> {
    Chain::new(io::sink(), format, FilterSet::default())
}

/// The record's bytes checked, and joined with nothing.
#[divan::bench(sample_size = 100, sample_count = 1000)]
fn decode_and_join(bencher: Bencher<'_, '_>) {
    let (record, mut join) = (pod_to_pod(), Join::default());
    bencher.bench_local(|| {
        let record = Record::parse(black_box(record.bytes())).expect("a record");
        join.push(record, |joined| {
            black_box(joined);
        });
    });
}

/// Decoded, joined and named.
#[divan::bench(sample_size = 100, sample_count = 1000)]
fn name(bencher: Bencher<'_, '_>) {
    let (record, mut chain) = (pod_to_pod(), chain(Format::Json));
    bencher.bench_local(|| chain.named(black_box(record.bytes())));
}

/// The exact filter with three conditions, and the noise classes.
#[divan::bench(sample_size = 100, sample_count = 1000)]
fn filter_and_noise(bencher: Bencher<'_, '_>) {
    let (named, filter) = (chain(Format::Json).named(pod_to_pod().bytes()), filter());
    bencher.bench_local(|| {
        let named = black_box(&named);
        (filter.matches(&named.flow), noise::classify(&named.flow, named.concerns))
    });
}

/// A map of 9,600 entries: for 400 identities, both ways, everything, a protocol and ten ports.
fn policy_table(order: Order) -> Table {
    let entry = |number: u32| {
        let peer = number / 12;
        let traffic = match number % 12 {
            0 => Traffic::Any,
            1 => Traffic::Protocol(6),
            port => Traffic::port(6, (port * 1000 + peer / 2) as u16),
        };
        let direction = if peer.is_multiple_of(2) { Direction::Ingress } else { Direction::Egress };
        Entry::allow(Key { direction, identity: Identity(5000 + peer / 2), traffic })
    };
    Table::new(order, (0..9600).map(entry))
}

/// The decision of policy about one packet, as `--why` asks for it.
#[divan::bench(sample_size = 100, sample_count = 1000)]
fn policy(bencher: Bencher<'_, '_>) {
    let (table, settings) = (policy_table(Order::DenyFirst), Settings::default());
    let mut number = 0u32;
    bencher.bench_local(|| {
        number = number.wrapping_add(7919);
        let facts = Facts::new(Direction::Ingress, Identity(5000 + number % 500), 6, number as u16);
        judge_quickly(black_box(&table), &facts, &settings)
    });
}

#[divan::bench(sample_size = 100, sample_count = 1000, args = ["compact", "json", "jsonpb", "dict", "table"])]
fn print(bencher: Bencher<'_, '_>, format: &str) {
    let mut chain = chain(Format::by_name(format).expect("a format"));
    let named = chain.named(pod_to_pod().bytes());
    bencher.bench_local(|| chain.stage.printer.flow(black_box(&named.flow)));
}

fn whole(bencher: Bencher<'_, '_>, format: Format) {
    let (mut records, mut chain) = ([pod_to_pod(), pod_to_world()], chain(format));
    let mut count = 0u64;
    bencher.bench_local(|| {
        let record = &mut records[(count % 2) as usize];
        // 500,000 events a second.
        record.set_time(5_660_000_000_000 + 2000 * count);
        count += 1;
        chain.take(black_box(record.bytes()));
    });
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn whole_json(bencher: Bencher<'_, '_>) {
    whole(bencher, Format::Json);
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn whole_jsonpb(bencher: Bencher<'_, '_>) {
    whole(bencher, Format::Jsonpb);
}

#[divan::bench(sample_size = 100, sample_count = 1000)]
fn whole_compact(bencher: Bencher<'_, '_>) {
    whole(bencher, Format::Compact);
}
