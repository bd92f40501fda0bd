//! Warnings about netqueue's own state that every response carries.

use netqueue_domain::{JournalState, KernelCounter, LossReason, Snapshot};

/// Returns one sentence for each impairment.
pub(super) fn health_warnings(snapshot: &Snapshot) -> Vec<String> {
    let probes = snapshot.health.probes.iter().filter(|probe| !probe.attached).map(|probe| {
        let why = probe.detail.as_deref().unwrap_or("no reason is known");
        format!("probe {} on {} is not attached: {why}", probe.program, probe.function)
    });
    let losses = LossReason::ALL.into_iter().filter_map(|reason| {
        let lost = snapshot.health.flow.lost(reason);
        let what = match reason {
            LossReason::RingFull | LossReason::Undecodable => "events are missing, counts are exact",
            LossReason::QueuedForgotten => "so many connections are missing among the accepted ones",
            LossReason::Unreadable
            | LossReason::EntryMissed
            | LossReason::ReturnMissed
            | LossReason::WrongFrame
            | LossReason::MapFull => "charges may be missing, see the residuals at /api/v1/status",
            LossReason::BaselinesFull => {
                "there are more network namespaces times CPUs with drops than netqueue keeps baselines for: charges may be missing, \
                 see the residuals at /api/v1/status"
            }
            LossReason::MovedElsewhere => {
                "code that no probe covers moved the kernel's counters: what it counted is charged to no listener, see the residuals \
                 at /api/v1/status"
            }
            LossReason::CallerHidden => {
                "another tracer (a kretprobe, an fprobe or function_graph) replaces return addresses: counts are exact, causes that \
                 only the caller tells are `other`"
            }
        };
        (lost > 0).then(|| format!("{lost} lost ({}): {what}", reason.as_str()))
    });
    let unreported = snapshot.health.flow.netns_untracked;
    let unreported = (unreported > 0).then(|| {
        format!(
            "{unreported} network namespaces have inode numbers too high to be told from others that have the number before or after \
             them: what they dropped is counted under one number"
        )
    });
    let unheard = snapshot.health.flow.netns_final_counters_lost;
    let unheard = (unheard > 0).then(|| {
        format!(
            "{unheard} network namespaces ended and were not compared for a last time, too many having ended at once: what is charged \
             in them is exact, what the kernel counted at their end is not known"
        )
    });
    let folded = snapshot.health.folding();
    let dropped_ack_cache = &snapshot.health.dropped_ack_cache;
    let forgotten = (!dropped_ack_cache.is_complete()).then(|| {
        format!(
            "up to {} handshakes whose final ACK was dropped were forgotten, more than {} being remembered: ghosts and unresolved \
             handshakes may be fewer than shown (--dropped-ack-cache-capacity)",
            dropped_ack_cache.forgotten_at_most, dropped_ack_cache.capacity
        )
    });
    let listens = snapshot.health.flow.listens_lost;
    let listens = (listens > 0).then(|| {
        format!(
            "{listens} listen() calls came too fast to be told: what those listeners asked for is not known"
        )
    });
    let journal = snapshot.journal.iter().flat_map(journal_warnings);
    let obstacles = snapshot.health.obstacles.iter().map(|obstacle| obstacle.sentence().to_owned());
    let told = snapshot.health.warnings.iter().cloned().chain(residuals(snapshot));
    obstacles
        .chain(told)
        .chain(journal)
        .chain(probes)
        .chain(losses)
        .chain(unreported)
        .chain(unheard)
        .chain(folded)
        .chain(listens)
        .chain(forgotten)
        .collect()
}

/// Warns of residuals, with the number of runs that the kernel skipped, which is their likely reason.
fn residuals(snapshot: &Snapshot) -> Option<String> {
    let differ: Vec<_> = snapshot
        .balances()
        .flat_map(|balance| balance.counters.iter())
        .filter(|(_, balance)| balance.residual != 0)
        .collect();
    let of = |counter: KernelCounter| {
        let sum: i64 =
            differ.iter().filter(|(one, _)| *one == counter).map(|(_, balance)| balance.residual).sum();
        (sum != 0).then(|| format!("{} {sum:+}", counter.as_str()))
    };
    let sums: Vec<_> = KernelCounter::ALL.into_iter().filter_map(of).collect();
    let attached = || snapshot.health.probes.iter().filter(|probe| probe.attached);
    let missed: u64 = attached().filter_map(|probe| probe.missed).sum();
    let silent = attached().filter(|probe| probe.missed.is_none()).count();
    let missed = match silent {
        0 => format!("the kernel skipped {missed} runs of netqueue's programs"),
        _ => format!(
            "the kernel skipped {missed} runs of netqueue's programs, and does not tell of {silent} of them"
        ),
    };
    (!differ.is_empty()).then(|| {
        format!(
            "the kernel's counters and what is charged differ in some namespaces ({}), see the residuals at /api/v1/status: {missed}",
            sums.join(", ")
        )
    })
}

/// Warns of events that the event log on disk lacks.
fn journal_warnings(journal: &JournalState) -> Vec<String> {
    let missing = |events: u64, why: &str| {
        (events > 0).then(|| format!("{events} events are missing in the event log on disk: {why}"))
    };
    let behind = missing(journal.behind, "the disk did not keep up");
    let unwritable = missing(journal.unwritable, "they could not be written");
    journal.trouble.iter().cloned().chain(behind).chain(unwritable).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::*, *};
    use netqueue_domain::Obstacle;

    #[test]
    fn a_residual_is_told_beside_what_the_kernel_says_it_skipped() {
        let mut queues = incident();
        let told = |snapshot: &Snapshot| {
            let differ = |warning: &String| warning.contains("differ");
            health_warnings(snapshot).into_iter().find(differ).expect("one more than was charged")
        };
        let mut taken = queues.snapshot(at(10));
        let warning = told(&taken);
        assert!(
            warning.contains("ListenDrops +1") && warning.ends_with("skipped 0 runs of netqueue's programs")
        );
        let mut health = taken.health.clone();
        health.probes[0].missed = None;
        queues.set_health(health);
        taken = queues.snapshot(at(10));
        assert!(told(&taken).ends_with("does not tell of 1 of them"), "{}", told(&taken));
    }

    #[test]
    fn sums_that_agree_are_not_spoken_of() {
        let queues = netqueue_domain::Aggregator::new(netqueue_domain::AggregatorSettings::of(HOST), at(0));
        assert_eq!(health_warnings(&queues.snapshot(at(10))), Vec::<String>::new());
    }

    #[test]
    fn every_obstacle_is_a_warning_of_every_answer() {
        let mut queues = incident();
        let obstacles = vec![Obstacle::FtraceOff, Obstacle::ForeignNetns];
        queues.set_health(netqueue_domain::Health { obstacles, ..queues.snapshot(at(9)).health });
        let warnings = health_warnings(&queues.snapshot(at(10)));
        assert!(warnings[0].contains("kernel.ftrace_enabled is 0") && warnings[1].contains("--pid host"));
    }
}
