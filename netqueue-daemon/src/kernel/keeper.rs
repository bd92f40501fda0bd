//! Asks the kernel side to change its own maps: runs of programs that are attached to nothing (netqueue-ebpf/src/keeper.rs).

use aya::{
    Ebpf,
    programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use netqueue_common::kept;

use super::{
    error::{AttachError, refused},
    slots::Purpose,
};

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

const EXAMINE: &str = "keep_examine";
const RETIRE: &str = "keep_retire";
const RELEASE: &str = "keep_release";
const SURVEY: &str = "survey_queues";
const NOTE_COUNTERS: &str = "keep_note_counters";

/// Loads the programs.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    for name in [EXAMINE, RETIRE, RELEASE, SURVEY, NOTE_COUNTERS] {
        let program: &mut RawTracePoint = ebpf
            .program_mut(name)
            .ok_or_else(|| AttachError::Refused {
                what: name.into(),
                reason: "it is not in the object".into(),
            })?
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
        self.run(EXAMINE, [slot, generation, 0])
    }

    /// From now on no program run that begins finds the slot.
    pub(super) fn retire(self, Tenure { slot, generation }: Tenure) -> Kept {
        self.run(RETIRE, [slot, generation, 0])
    }

    /// Clears the slot and makes it free. To be called a grace period after it was retired.
    pub(super) fn release(self, Tenure { slot, generation }: Tenure, purpose: Purpose) -> Kept {
        self.run(RELEASE, [slot, generation, u32::from(purpose as u8)])
    }

    /// Looks at the queues of some listeners, from this slot on.
    pub(super) fn survey(self, first: u32) {
        // A program that could not be run is tried again with the next look; until then the last one stands.
        let _looked = self.run(SURVEY, [first, 0, 0]);
    }

    /// Notes what every namespace has counted so far. To be called when everything is attached, before anything is compared.
    pub(super) fn note_counters(self, cpus: u32) {
        /// Of 32 namespaces each.
        const MOST: u32 = 1024;
        for cpu in 0..cpus {
            // Where it cannot be run, the first drop after each of these counts is not charged, which is counted.
            let _noted = (0..MOST).find(|_| self.run(NOTE_COUNTERS, [cpu, 0, 0]) != Kept::Busy);
        }
    }

    fn run(self, name: &str, arguments: [u32; 3]) -> Kept {
        let Some(Program::RawTracePoint(program)) = self.0.program(name) else { return Kept::Busy };
        let mut options = RawTracePointRunOptions::new();
        options.args.iter_mut().zip(arguments).for_each(|(arg, value)| *arg = u64::from(value));
        match program.test_run(options).map(|ran| ran.return_value) {
            Ok(kept::DONE) => Kept::Done,
            Ok(kept::CLOSED) => Kept::Closed,
            Ok(kept::BUSY) => Kept::Busy,
            Ok(_) => Kept::Stale,
            Err(error) => {
                // Nothing has changed then, and it is tried again.
                tracing::debug!(%error, "a program could not be run");
                Kept::Busy
            }
        }
    }
}
