//! The lab on one kernel, counted by the lab's own last line.

use super::tally::{self, Tally};
use crate::vm::kernels::Row;
use crate::vm::{self, Outcome, Payload};
use crate::workspace::Workspace;

/// Four processors on one kernel of the matrix: races want company.
const CROWDED: (&str, u32) = ("6.12", 4);

/// Boots the kernel, runs the lab, counts its experiments; a guest that fails otherwise counts as one failure.
pub(crate) fn on(workspace: &Workspace, row: &'static Row, payload: &Payload) -> Tally {
    let defaults = vm::Options::default();
    let smp = if row.name == CROWDED.0 { CROWDED.1 } else { defaults.smp };
    run(workspace, row, payload, &vm::Options { smp, ..defaults })
}

/// Boots the kernel with these options, runs what they say, counts its experiments.
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
    use crate::vm::kernels;

    #[test]
    fn the_crowded_kernel_is_in_the_matrix() {
        assert!(kernels::row(CROWDED.0).is_ok());
    }
}
