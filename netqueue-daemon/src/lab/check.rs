//! The comparison itself: the kernel's counters, what an experiment expects, and what netqueue said; out come the
//! disagreements, each in a sentence. Pure.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::api::{Event, Observation, Queue, Row};
use super::netstat::{Counter, Counters};
use super::scene::{Amount, ExpectedEvents, ExpectedListener, QueueState, Scene};

/// Whether the incident did happen.
pub(super) fn incident(scene: &Scene, kernel: &Counters) -> Vec<String> {
    scene
        .kernel
        .iter()
        .filter_map(|(counter, amount)| {
            let wrong = disagreement(kernel.get(*counter), *amount, kernel)?;
            Some(format!(
                "the incident did not happen as it should: the kernel counted {} {wrong}",
                counter.name()
            ))
        })
        .collect()
}

/// Where netqueue disagrees with the kernel or with the experiment.
pub(super) fn netqueue(scene: &Scene, kernel: &Counters, seen: &Observation) -> Vec<String> {
    let mut problems = residuals(kernel, &seen.sum());
    problems.extend(seen.rows.iter().filter(|row| row.kind == "listener").flat_map(identities));
    for expected in &scene.listeners {
        problems.extend(listener(expected, kernel, &seen.rows));
    }
    if let Some(expected) = &scene.events {
        problems.extend(events(expected, &seen.events));
    }
    if !problems.is_empty() {
        problems.extend(seen.warnings.iter().map(|warning| format!("netqueue itself warns: {warning}")));
    }
    problems
}

/// The promise of netqueue: nothing the kernel counted is left over, nothing is counted twice.
fn residuals(kernel: &Counters, sum: &Counters) -> Vec<String> {
    let differs = |counter: &Counter| kernel.get(*counter) != sum.get(*counter);
    let sentence = |counter: Counter| {
        let (kernel, netqueue) = (kernel.get(counter), sum.get(counter));
        let residual = i128::from(kernel) - i128::from(netqueue);
        format!("{}: the kernel counted {kernel}, netqueue {netqueue} (residual {residual})", counter.name())
    };
    Counter::ALL.into_iter().filter(differs).map(sentence).collect()
}

/// What must be true of any listener's row.
fn identities(row: &Row) -> Vec<String> {
    let sum = |parts: &super::api::Breakdown| parts.by_cause.iter().map(|part| part.count).sum::<u64>();
    let full = row.drops.by_cause.iter().filter(|part| part.cause == super::scene::cause::ACCEPT_QUEUE_FULL);
    let checks = [
        ("the sum of its drops by cause", sum(&row.drops), "its drops", row.drops.total),
        ("its drops", row.drops.total, "its ListenDrops", row.counter(Counter::ListenDrops)),
        (
            "its accept_queue_full drops",
            full.map(|part| part.count).sum(),
            "its ListenOverflows",
            row.counter(Counter::ListenOverflows),
        ),
        ("the sum of its resets by cause", sum(&row.resets), "its resets", row.resets.total),
        ("its resets", row.resets.total, "its OutRsts", row.counter(Counter::OutRsts)),
    ];
    checks
        .into_iter()
        .filter(|(_, left, _, right)| left != right)
        .map(|(left_name, left, right_name, right)| {
            format!("{row}: {left_name} ({left}) should equal {right_name} ({right})")
        })
        .collect()
}

fn listener(expected: &ExpectedListener, kernel: &Counters, rows: &[Row]) -> Vec<String> {
    let address = expected.address;
    let found: Vec<&Row> = rows.iter().filter(|row| row.is_listener(address)).collect();
    let [row] = found[..] else {
        return vec![format!("netqueue shows {} listeners for {address}, there is 1", found.len())];
    };
    let mut problems = Vec::new();
    if expected.sole {
        problems.extend(
            Counter::ALL.into_iter().filter(|counter| row.counter(*counter) != kernel.get(*counter)).map(
                |counter| {
                    format!(
                        "{row}: {} is {}, all {} were this listener's",
                        counter.name(),
                        row.counter(counter),
                        kernel.get(counter)
                    )
                },
            ),
        );
    }
    if let Some(shares) = &expected.drops {
        let mut explained = 0;
        for share in shares {
            let at =
                |stage: &Option<String>| stage.as_deref().is_some_and(|stage| share.stages.contains(&stage));
            let parts = row.drops.by_cause.iter().filter(|part| part.cause == share.cause && at(&part.stage));
            let count = parts.map(|part| part.count).sum();
            explained += count;
            if let Some(wrong) = disagreement(count, share.amount, kernel) {
                problems.push(format!("{row}: {} at {}: {wrong}", share.cause, share.stages.join("+")));
            }
        }
        if explained != row.drops.total {
            problems.push(format!(
                "{row}: {} of {} drops have another cause: {:?}",
                row.drops.total - explained.min(row.drops.total),
                row.drops.total,
                row.drops.by_cause
            ));
        }
    }
    if let Some(resets) = &expected.resets {
        let mut explained = 0;
        for (cause, amount) in resets {
            let count =
                row.resets.by_cause.iter().filter(|part| part.cause == *cause).map(|part| part.count).sum();
            explained += count;
            if let Some(wrong) = disagreement(count, *amount, kernel) {
                problems.push(format!("{row}: resets of cause {cause}: {wrong}"));
            }
        }
        if explained != row.resets.total {
            problems.push(format!(
                "{row}: {} resets, {explained} of the expected cause: {:?}",
                row.resets.total, row.resets.by_cause
            ));
        }
    }
    problems
}

fn events(expected: &[ExpectedEvents], seen: &[Event]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut unexplained: Vec<&Event> = seen.iter().collect();
    for want in expected {
        let peers: HashSet<&SocketAddr> = want.peers.iter().collect();
        let matching = |event: &&Event| {
            event.kind == want.kind
                && event.cause == want.cause
                && event.port == want.port
                && event.stage.as_deref().is_none_or(|stage| want.stages.contains(&stage))
                && (want.kind != "drop" || event.stage.is_some())
                && event.peer.as_ref().is_some_and(|peer| peers.contains(&peer.address()))
                && shows(event.accept_queue, want.accept_queue.as_ref())
                && shows(event.syn_queue, want.syn_queue.as_ref())
        };
        let count = seen.iter().filter(matching).count();
        if count < want.at_least {
            problems.push(format!(
                "events: {count} say {} {} at {} for port {} with a right peer and queue{}, at least {} should",
                want.kind,
                want.cause,
                want.stages.join("+"),
                want.port,
                wanted_queues(want),
                want.at_least
            ));
        }
        unexplained.retain(|event| !matching(event));
    }
    if let Some(event) = unexplained.first() {
        problems
            .push(format!("events: {} say something else, the newest of them: {event:?}", unexplained.len()));
    }
    problems
}

fn wanted_queues(want: &ExpectedEvents) -> String {
    let queue = |name: &str, state: &Option<QueueState>| match state {
        Some(state) => format!(
            ", {name} of {}..={} with limit {}",
            state.length.start(),
            state.length.end(),
            state.limit
        ),
        None => String::new(),
    };
    queue("an accept queue", &want.accept_queue) + &queue("a SYN queue", &want.syn_queue)
}

fn shows(queue: Option<Queue>, want: Option<&QueueState>) -> bool {
    want.is_none_or(|want| {
        queue.is_some_and(|queue| queue.limit == want.limit && want.length.contains(&queue.length))
    })
}

/// `None` if the amount is right.
fn disagreement(count: u64, amount: Amount, kernel: &Counters) -> Option<String> {
    let (right, wanted) = match amount {
        Amount::Exactly(wanted) => (count == wanted, wanted.to_string()),
        Amount::AtLeast(wanted) => (count >= wanted, format!("at least {wanted}")),
        Amount::All(counter) => {
            let wanted = kernel.get(counter);
            (count == wanted, format!("{wanted}, like {}", counter.name()))
        }
    };
    (!right).then(|| format!("{count}, expected {wanted}"))
}
