//! Runs the control programs, by which the kernel side changes its own maps.
//!
//! The programs (netqueue-ebpf/src/control.rs) are attached to nothing and run by BPF_PROG_TEST_RUN: changing
//! a map by system call would make the kernel skip every kprobe program on that CPU meanwhile.

use std::io;

use aya::{
    Ebpf,
    programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use netqueue_common::control_status;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    error::{AttachError, absent, refused},
    rcu,
};

/// A slot in one of its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotRef {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Result of a control program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlStatus {
    Done,
    /// The slot has another owner by now, or none.
    Stale,
    /// The listener's socket no longer listens.
    Closed,
    /// The request has to be repeated.
    Busy,
}

const EXAMINE: &str = "nq_slot_examine";
const RETIRE: &str = "nq_slot_retire";
const RELEASE: &str = "nq_slot_release";
const SURVEY: &str = "nq_sample_queues";
const NOTE_COUNTERS: &str = "nq_seed_baselines";
const SETTLE: &str = "nq_settle_resets";

/// Loads the programs.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    for name in [EXAMINE, RETIRE, RELEASE, SURVEY, NOTE_COUNTERS, SETTLE] {
        let program: &mut RawTracePoint = ebpf
            .program_mut(name)
            .ok_or_else(|| absent(name))?
            .try_into()
            .map_err(|error| refused(name, &error))?;
        program.load().map_err(|error| refused(name, &error))?;
    }
    Ok(())
}

/// Steps in which the kernel side gives slots back.
pub(super) trait SlotControl: Copy {
    /// Checks whether the slot's listener still listens; if it does not, its end is recorded.
    fn examine(self, slot_ref: SlotRef) -> ControlStatus;

    /// Retires the slot: no program run that begins later finds it.
    fn retire(self, slot_ref: SlotRef) -> ControlStatus;

    /// Starts to wait until no program run that is under way can still use a retired slot.
    fn begin_grace(self) -> oneshot::Receiver<io::Result<()>>;

    /// Clears the slot and frees it. Call it a grace period after the slot was retired.
    fn release(self, slot_ref: SlotRef) -> ControlStatus;
}

/// The loaded programs.
#[derive(Clone, Copy)]
pub(super) struct ControlPrograms<'a>(pub(super) &'a Ebpf);

impl SlotControl for ControlPrograms<'_> {
    fn examine(self, SlotRef { slot, generation }: SlotRef) -> ControlStatus {
        self.run(EXAMINE, [slot, generation])
    }

    fn retire(self, SlotRef { slot, generation }: SlotRef) -> ControlStatus {
        self.run(RETIRE, [slot, generation])
    }

    fn begin_grace(self) -> oneshot::Receiver<io::Result<()>> {
        let (done, grace) = oneshot::channel();
        // The receiver is gone if the pipeline has ended meanwhile.
        spawn_blocking(move || drop(done.send(rcu::wait())));
        grace
    }

    fn release(self, SlotRef { slot, generation }: SlotRef) -> ControlStatus {
        self.run(RELEASE, [slot, generation])
    }
}

impl ControlPrograms<'_> {
    /// Samples the queues of one batch of listeners, from this slot on.
    pub(super) fn survey(self, first: u32) {
        // If the program cannot run, the last sample stays valid until the next one.
        let _looked = self.run(SURVEY, [first, 0]);
    }

    /// Stores every namespace's counters as baselines. Call it once everything is attached.
    ///
    /// The program runs on each CPU itself, so that nothing is counted there meanwhile; for an offline CPU it
    /// runs elsewhere.
    pub(super) fn note_counters(self, cpus: u32) {
        /// Limit on the runs for one CPU; each run covers 32 namespaces.
        const MOST: u32 = 1024;
        for cpu in 0..cpus {
            let note = |on: Option<u32>| {
                let arguments = [cpu, u32::from(on.is_some())];
                // Without a baseline, the first drop in a namespace that has dropped before is counted as
                // missed, not charged.
                (0..MOST)
                    .map(|_| self.try_run(NOTE_COUNTERS, arguments, on))
                    .find(|ran| *ran != Some(ControlStatus::Busy))
            };
            if note(Some(cpu)).flatten().is_none() {
                note(None);
            }
        }
    }

    /// Settles the charges that CPUs have deferred. An offline CPU has none.
    pub(super) fn settle(self, cpus: u32) {
        for cpu in 0..cpus {
            // A charge whose counter has not moved yet stays deferred; the next readings retry it.
            let _still_owed = self.try_run(SETTLE, [0; 2], Some(cpu));
        }
    }

    fn run(self, name: &str, arguments: [u32; 2]) -> ControlStatus {
        // A program that could not run has changed nothing, so the request can be repeated.
        self.try_run(name, arguments, None).unwrap_or(ControlStatus::Busy)
    }

    /// Runs a program, on the CPU named if any; `None` where it could not run.
    fn try_run(self, name: &str, arguments: [u32; 2], cpu: Option<u32>) -> Option<ControlStatus> {
        let Some(Program::RawTracePoint(program)) = self.0.program(name) else { return None };
        let mut options = RawTracePointRunOptions { cpu, ..RawTracePointRunOptions::new() };
        options.args.iter_mut().zip(arguments).for_each(|(arg, value)| *arg = u64::from(value));
        match program.test_run(options).map(|ran| ran.return_value) {
            Ok(control_status::DONE) => Some(ControlStatus::Done),
            Ok(control_status::CLOSED) => Some(ControlStatus::Closed),
            Ok(control_status::BUSY) => Some(ControlStatus::Busy),
            Ok(_) => Some(ControlStatus::Stale),
            Err(error) => {
                tracing::debug!(%error, "a program could not be run");
                None
            }
        }
    }
}
