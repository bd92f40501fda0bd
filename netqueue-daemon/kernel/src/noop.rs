//! Programs that do nothing, attached to the same functions as netqueue's, and in the same way.
//!
//! They measure what the calls alone cost: no program attached there can cost less.

use aya::{Ebpf, EbpfLoader, programs::ProgramError};
use netqueue_common::names;
use netqueue_domain::{AttachMode, AttachWay, Features};

use super::{
    attach::lift_memory_lock,
    error::{AttachError, in_one_line, refused},
    hook::load_traced,
    object::OBJECT,
    preemption::Preemption,
    preflight::Prepared,
    probes::{self, At, PROBES, Plan, Probe},
};

/// The attached programs; dropping the value detaches them.
pub struct NoopProbes {
    /// Objects: one for each fentry or fexit program, which has one function, and one for all kprobes.
    _held: Vec<Ebpf>,
    /// Number of functions attached by fentry.
    pub traced: usize,
    /// Number of functions attached by kprobe.
    pub probed: usize,
}

impl NoopProbes {
    /// Attaches the programs to every function that netqueue would watch.
    ///
    /// # Errors
    /// Whatever keeps a program from being attached.
    pub fn attach(way: AttachWay, features: Features) -> Result<Self, AttachError> {
        let prepared = Prepared::new(way)?;
        lift_memory_lock();
        let types = aya::Btf::from_sys_fs().map_err(|error| AttachError::NoBtf(in_one_line(&error)))?;
        let mut kprobes = object()?;
        let (mut held, mut traced, mut probed) = (Vec::new(), 0, 0);
        for group in PROBES.chunk_by(|one, next| one.function == next.function) {
            let Some(Probe { function, .. }) = group.first() else { continue };
            let unwanted = *function == probes::ACCEPT && !features.accept_wait;
            if unwanted || !prepared.symbols.contains(function) {
                continue;
            }
            let by_fentry = match way {
                AttachWay::Kprobe => false,
                AttachWay::Auto => probes::plan(function, Preemption::No) == Plan::Traced,
                AttachWay::Fentry => true,
            };
            if by_fentry {
                let needed =
                    |probe: &&Probe| probe.goes_by(AttachMode::Fentry) && probe.is_for(Preemption::No);
                for probe in group.iter().filter(needed) {
                    held.push(trampoline(probe.function, probe.at, &types)?);
                }
                traced += 1;
            } else {
                for probe in group.iter().filter(|probe| probe.goes_by(AttachMode::Kprobe)) {
                    kprobe(&mut kprobes, probe)?;
                }
                probed += 1;
            }
        }
        held.push(kprobes);
        Ok(Self { _held: held, traced, probed })
    }
}

/// Loads an object without attaching anything.
pub(super) fn object() -> Result<Ebpf, AttachError> {
    const SMALL: u32 = 1 << 12;
    EbpfLoader::new()
        .btf(None)
        .map_max_entries(names::EVENTS, SMALL)
        .load(OBJECT)
        .map_err(|error| refused("the object", &error))
}

/// A function whose trampoline has no room for another program.
pub struct FullTrampoline {
    /// Objects, one for each program.
    held: Vec<Ebpf>,
}

impl FullTrampoline {
    /// Attaches no-op programs to the function's return until the kernel accepts no more.
    ///
    /// The limit is 38 for all tools together (BPF_MAX_TRAMP_LINKS, kernel/bpf/trampoline.c).
    ///
    /// # Errors
    /// Not one can be attached.
    pub fn of(function: &'static str) -> Result<Self, AttachError> {
        const MOST: usize = 64;
        lift_memory_lock();
        let types = aya::Btf::from_sys_fs().map_err(|error| AttachError::NoBtf(in_one_line(&error)))?;
        let mut held = Vec::new();
        while held.len() < MOST {
            match trampoline(function, At::Return, &types) {
                Ok(ebpf) => held.push(ebpf),
                Err(error) if held.is_empty() => return Err(error),
                Err(_full) => break,
            }
        }
        Ok(Self { held })
    }

    /// Number of programs attached by this value.
    #[must_use]
    pub fn programs(&self) -> usize {
        self.held.len()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "aya has thirty types of program, and these are two")]
fn trampoline(function: &'static str, at: At, types: &aya::Btf) -> Result<Ebpf, AttachError> {
    let mut ebpf = object()?;
    let name = if at == At::Entry { "nq_noop_fentry" } else { "nq_noop_fexit" };
    let failed = |error: ProgramError| AttachError::NoFentry { function, reason: in_one_line(&error) };
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType).map_err(failed)?;
    load_traced(program, function, types).map_err(failed)?;
    match program {
        aya::programs::Program::FEntry(program) => program.attach().map(drop),
        aya::programs::Program::FExit(program) => program.attach().map(drop),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(failed)?;
    Ok(ebpf)
}

fn kprobe(ebpf: &mut Ebpf, probe: &Probe) -> Result<(), AttachError> {
    let name = if probe.at == At::Entry { "nq_noop_kprobe" } else { "nq_noop_kretprobe" };
    let failed =
        |error: ProgramError| AttachError::Attach { function: probe.function, reason: in_one_line(&error) };
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType).map_err(failed)?;
    let program: &mut aya::programs::KProbe = program.try_into().map_err(failed)?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => return Err(failed(error)),
    }
    program.attach(probe.function, 0).map(drop).map_err(failed)
}
