//! Runs the lab on the matrix; the lab's own last line has the counts.

use std::thread;
use std::time::{Duration, Instant};

use super::tally::{self, Tally};
use crate::vm::kernels::{self, Row};
use crate::vm::{self, Outcome, Payload};
use crate::workspace::Workspace;

/// Kernel of the matrix that gets four processors: races need company.
const CROWDED: (&str, u32) = ("6.12", 4);

/// Seconds from power-on after which a guest is switched off.
const DEADLINE: u64 = 1800;

/// Guests that run side by side: the lab waits about half of its time.
pub(crate) const TOGETHER: usize = 2;

/// Experiments that take a minute or so each, on limits of the daemon's own rather than on the kernel.
/// Each half runs on two kernels, of which one is of the first pair and one of the second.
const LONG: [&[&str]; 2] = [
    &["ports-come-and-go", "little-memory", "workers-busy"],
    &["maps-full", "more-listeners-than-slots", "dropped-ack-cache-too-small", "namespace-churn"],
];

/// Returns the arguments of the lab on this kernel: all but one half of the long experiments.
fn arguments(row: &Row) -> Vec<String> {
    let left_out = LONG[usize::from(["5.10", "7.2"].contains(&row.name))];
    let without = left_out.iter().flat_map(|name| ["--without", name]);
    vm::LAB.into_iter().chain(without).map(str::to_owned).collect()
}

/// Runs the lab on these kernels at the same time; returns for each the time and the counts.
pub(crate) fn on_each(
    workspace: &Workspace,
    rows: &[&'static Row],
    payload: &Payload,
) -> Vec<(Duration, Tally)> {
    // One after the other: they share one package cache.
    for row in rows {
        if let Err(error) = kernels::ensure(workspace, row) {
            println!("vm {}: {error:#}", row.name);
        }
    }
    let timed = |row| {
        let start = Instant::now();
        let tally = on(workspace, row, payload);
        (start.elapsed(), tally)
    };
    thread::scope(|scope| {
        let running: Vec<_> = rows.iter().map(|row| scope.spawn(move || timed(*row))).collect();
        running.into_iter().map(|guest| guest.join().unwrap_or((Duration::ZERO, Tally::FAILURE))).collect()
    })
}

/// Boots the kernel, runs the lab, counts its experiments; any other failure counts as one.
fn on(workspace: &Workspace, row: &'static Row, payload: &Payload) -> Tally {
    let defaults = vm::Options::default();
    let smp = if row.name == CROWDED.0 { CROWDED.1 } else { defaults.smp };
    let options = vm::Options { smp, deadline: DEADLINE, arguments: arguments(row), ..defaults };
    run(workspace, row, payload, &options)
}

/// Boots the kernel with these options, runs their command, counts its experiments.
pub(crate) fn run(
    workspace: &Workspace,
    row: &'static Row,
    payload: &Payload,
    options: &vm::Options,
) -> Tally {
    let report = vm::boot_row(workspace, row, payload, options);
    println!("{report}");
    let passed = report.outcome == Outcome::Passed;
    match tally::lab(&report.output) {
        Some(counted) => counted.or_failure(passed),
        None => {
            println!("vm {}: the lab did not end with a line `lab: N passed, N failed`", row.name);
            Tally::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crowded_kernel_is_in_the_matrix() {
        assert!(kernels::row(CROWDED.0).is_ok());
    }

    #[test]
    fn each_long_experiment_runs_on_two_kernels() {
        let without = |row| arguments(kernels::row(row).expect("of the matrix"));
        for long in LONG.concat() {
            let runs = ["5.10", "6.1", "6.12", "7.2"]
                .into_iter()
                .filter(|row| !without(row).contains(&long.to_owned()));
            assert_eq!(runs.count(), 2, "{long}");
        }
    }
}
