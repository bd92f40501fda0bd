//! Events per second that one core processes, from the ring buffer's bytes to the sums and the log.

mod cpu_time;
mod crowd;

use std::{hint::black_box, time::Duration};

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crowd::{BUSY, second};
use netqueue_common::{CounterId, EventRecord, ListenerKey, NO_REASON, Namespace};
use netqueue_domain::{Event, EventLog, Observation};
use netqueue_kernel::Decoder;
use zerocopy::IntoBytes as _;

/// The numbers of listeners; one in twenty of them drops.
const CROWDS: [u64; 2] = [100, 10_000];
/// Maximum number of records in one drain of the ring.
const DRAIN: u64 = 4096;

/// A full drain of drops at the busy listeners, of a hundred peers.
fn ring(listeners: u64) -> Vec<u8> {
    let busy = listeners.div_ceil(BUSY);
    let record = |number: u64| EventRecord {
        time: 2_000_000_000 + number * 1000,
        age: 0,
        key: ListenerKey {
            sock: 1,
            netns: Namespace { inode: 4_026_531_840, generation: 0 },
            port: u16::try_from(number % busy * BUSY).unwrap_or(u16::MAX),
            family: 2,
            addr: [0; 16],
            reserved: 0,
        },
        peer_addr: [10, 9, 9, (number % 100) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        peer_port: (number % 60_000) as u16,
        peer_family: 2,
        local_port: (number % busy * BUSY) as u32,
        code: CounterId::DropAcceptQueueFullSyn as u32,
        cpu: 0,
        reason: NO_REASON,
        accept_length: 512,
        accept_limit: 511,
        syn_length: 1,
        syn_limit: 511,
        slot: (number % busy * BUSY) as u32,
        generation: 1,
        reserved: 0,
    };
    (0..DRAIN).flat_map(|number| record(number).as_bytes().to_vec()).collect()
}

fn decode(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(DRAIN));
    let (ring, decoder) = (ring(100), Decoder::default());
    group.bench_function("events", |bencher| {
        bencher.iter(|| {
            let records = black_box(&ring).chunks_exact(size_of::<EventRecord>());
            records.filter_map(|record| decoder.event(record, second(0))).count()
        });
    });
}

/// Appends each drain to a full event log, which evicts the oldest events.
fn store(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(DRAIN));
    for listeners in CROWDS {
        let (ring, decoder) = (ring(listeners), Decoder::default());
        let records = ring.chunks_exact(size_of::<EventRecord>());
        let events: Vec<Event> = records.filter_map(|record| decoder.event(record, second(0))).collect();
        let mut log = EventLog::new(16 << 20);
        group.bench_function(BenchmarkId::new("listeners", listeners), |bencher| {
            bencher.iter(|| events.iter().map(|event| log.append(event.clone())).max());
        });
    }
}

/// Decodes and applies each drain.
/// Four times a second the counters, a tick and a snapshot follow, as in the pipeline.
fn take_in(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("drain, decode and aggregate");
    group.throughput(Throughput::Elements(DRAIN)).measurement_time(Duration::from_secs(8));
    for listeners in CROWDS {
        let (ring, decoder) = (ring(listeners), Decoder::default());
        let mut aggregator = crowd::aggregator(listeners, 2000);
        let (mut drains, mut now) = (0, 3);
        group.bench_function(BenchmarkId::new("listeners", listeners), |bencher| {
            bencher.iter(|| {
                let records = black_box(&ring).chunks_exact(size_of::<EventRecord>());
                let events = records.filter_map(|record| decoder.event(record, second(now)));
                let events: Vec<_> = events.collect();
                aggregator.apply(second(now), Observation::Events(events));
                drains += 1;
                // A quarter of a second passes per 250,000 events, at a million events per second.
                if drains % (250_000 / DRAIN) == 0 {
                    now += 1;
                    crowd::tell(&mut aggregator, listeners, now);
                    black_box(aggregator.snapshot(second(now)));
                }
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode, store, take_in
}
criterion_main!(benches);
