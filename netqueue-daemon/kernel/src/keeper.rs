//! Asks the kernel side to change its own maps: runs of programs that are attached to nothing (netqueue-ebpf/src/keeper.rs).

use aya::{
    Ebpf,
    programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use netqueue_common::kept;

use super::error::{AttachError, absent, refused};

/// A slot in one of its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Done,
    /// The slot is somebody else's by now, or nobody's.
    Stale,
    /// The listener that was looked at listens no more.
    Closed,
    /// To be tried again.
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

/// The loaded programs.
#[derive(Clone, Copy)]
pub(super) struct Keeper<'a>(pub(super) &'a Ebpf);

impl Keeper<'_> {
    /// Whether the slot's listener still listens. Where it does not, its end is noted.
    pub(super) fn examine(self, Tenure { slot, generation }: Tenure) -> Kept {
        self.run(EXAMINE, [slot, generation])
    }

    /// From now on no program run that begins finds the slot.
    pub(super) fn retire(self, Tenure { slot, generation }: Tenure) -> Kept {
        self.run(RETIRE, [slot, generation])
    }

    /// Clears the slot and makes it free. To be called a grace period after it was retired.
    pub(super) fn release(self, Tenure { slot, generation }: Tenure) -> Kept {
        self.run(RELEASE, [slot, generation])
    }

    /// Looks at the queues of some listeners, from this slot on.
    pub(super) fn survey(self, first: u32) {
        // A program that could not be run is tried again with the next look; until then the last one stands.
        let _looked = self.run(SURVEY, [first, 0]);
    }

    /// Notes what every namespace has counted so far. To be called when everything is attached, before anything is compared. On
    /// each CPU itself, so that nothing is counted there meanwhile; of one that is offline from elsewhere.
    pub(super) fn note_counters(self, cpus: u32) {
        /// Of 32 namespaces each.
        const MOST: u32 = 1024;
        for cpu in 0..cpus {
            let note = |on: Option<u32>| {
                let arguments = [cpu, u32::from(on.is_some())];
                // Where it cannot be run, the first drop after each of these counts is not charged, which is counted.
                (0..MOST)
                    .map(|_| self.try_run(NOTE_COUNTERS, arguments, on))
                    .find(|ran| *ran != Some(Kept::Busy))
            };
            if note(Some(cpu)).flatten().is_none() {
                note(None);
            }
        }
    }

    /// Charges what CPUs still owe. A CPU that is offline owes nothing.
    pub(super) fn settle(self, cpus: u32) {
        for cpu in 0..cpus {
            // What is not counted yet stays owed, and is asked for again with the next readings.
            let _still_owed = self.try_run(SETTLE, [0; 2], Some(cpu));
        }
    }

    fn run(self, name: &str, arguments: [u32; 2]) -> Kept {
        // What could not be run has changed nothing, and is tried again.
        self.try_run(name, arguments, None).unwrap_or(Kept::Busy)
    }

    /// Runs a program, on this CPU where one is named; `None` where it could not be run.
    fn try_run(self, name: &str, arguments: [u32; 2], cpu: Option<u32>) -> Option<Kept> {
        let Some(Program::RawTracePoint(program)) = self.0.program(name) else { return None };
        let mut options = RawTracePointRunOptions { cpu, ..RawTracePointRunOptions::new() };
        options.args.iter_mut().zip(arguments).for_each(|(arg, value)| *arg = u64::from(value));
        match program.test_run(options).map(|ran| ran.return_value) {
            Ok(kept::DONE) => Some(Kept::Done),
            Ok(kept::CLOSED) => Some(Kept::Closed),
            Ok(kept::BUSY) => Some(Kept::Busy),
            Ok(_) => Some(Kept::Stale),
            Err(error) => {
                tracing::debug!(%error, "a program could not be run");
                None
            }
        }
    }
}
