//! Time that the daemon takes for a snapshot and for its pages, by the number of listeners.

mod crowd;

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use crowd::{CROWDS, second};
use netqueue_daemon::metrics;

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for listeners in CROWDS {
        let aggregator = crowd::aggregator(listeners, 50_000);
        group.bench_function(BenchmarkId::from_parameter(listeners), |bencher| {
            bencher.iter(|| black_box(aggregator.snapshot(second(3))));
        });
    }
}

/// Measures a second of the pipeline without charges: only the tick.
fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for listeners in CROWDS {
        let mut aggregator = crowd::aggregator(listeners, 50_000);
        let mut now = 3;
        group.bench_function(BenchmarkId::from_parameter(listeners), |bencher| {
            bencher.iter(|| {
                now += 1;
                black_box(aggregator.tick(second(now)))
            });
        });
    }
}

fn metrics_page(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics page");
    for (listeners, series) in CROWDS.into_iter().flat_map(|crowd| [(crowd, 2000), (crowd, 50_000)]) {
        let snapshot = Arc::new(crowd::aggregator(listeners, series).snapshot(second(3)));
        group.bench_function(BenchmarkId::new(format!("{series} series"), listeners), |bencher| {
            bencher.iter(|| {
                metrics::pieces(Arc::clone(&snapshot)).map(|piece| black_box(piece).len()).sum::<usize>()
            });
        });
    }
}

criterion_group!(benches, snapshot, tick, metrics_page);
criterion_main!(benches);
