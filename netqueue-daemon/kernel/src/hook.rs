//! Attaches the programs of one function after another: by fentry and fexit, else by kprobe.
//!
//! Both ends of a function go the same way, since each way identifies a call by a different address. So does
//! the IPv6 twin of a function that IPv4 on a dual-stack listener also passes through.
//!
//! With `AttachWay::Auto` some functions use kprobes even where fentry works, alone or mixed ([`Plan`]):
//! those of process context. While such a program runs, the kernel skips other kprobe programs on that CPU,
//! but not those of the functions that softirqs run, which are attached by fentry.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    programs::{FEntry, FExit, KProbe, Program, ProgramError},
};
use netqueue_domain::{AttachMode, AttachWay, ProbeStatus};
use nix::errno::Errno;

use super::{
    error::{AttachError, absent, errno, in_full, in_one_line, known_cause, refused},
    hidden,
    preemption::{self, Preemption},
    preflight::Prepared,
    probes::{self, At, Need, Plan, Probe},
    program_misses::Misses,
};

/// Prefix of all program names in the object: `bpftool prog` on a host then shows their owner.
const PREFIX: &str = "nq_";

/// One program, and the source of its miss count.
pub(super) type Probed = (ProbeStatus, Option<Misses>);

/// State shared while attaching.
pub(super) struct Hooks<'a> {
    prepared: &'a Prepared,
    way: AttachWay,
    /// The kernel's types for aya's fentry loader, or the reason why fentry is not available.
    types: Result<aya::Btf, String>,
    preemption: Preemption,
}

impl<'a> Hooks<'a> {
    /// Determines which ways of attaching this kernel offers.
    pub(super) fn new(prepared: &'a Prepared, way: AttachWay) -> Result<Self, AttachError> {
        let types = match way {
            AttachWay::Kprobe => Err("not asked for".to_owned()),
            AttachWay::Auto | AttachWay::Fentry => {
                aya::Btf::from_sys_fs().map_err(|error| in_one_line(&error))
            }
        };
        if way == AttachWay::Fentry
            && let Some(how) = preemption::kind()
        {
            return Err(AttachError::Preempts(how));
        }
        match (&types, way) {
            (Err(error), AttachWay::Fentry) => Err(AttachError::NoBtf(error.clone())),
            _ => Ok(Self { prepared, way, types, preemption: preemption::find() }),
        }
    }

    /// Attaches the programs of functions that must go the same way, in the order given.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, twins: &[&Probe]) -> Result<Vec<Probed>, AttachError> {
        let (probes, absent): (Vec<&Probe>, Vec<&Probe>) = twins
            .iter()
            .copied()
            .filter(|probe| probe.is_for(self.preemption))
            .partition(|probe| self.prepared.symbols.contains(probe.function));
        let mut probed: Vec<_> = absent
            .into_iter()
            .flat_map(|probe| {
                let why = format!("the kernel has no function {}", probe.function);
                unattached(&[probe], AttachMode::Kprobe, &why)
            })
            .collect();
        if !probes.is_empty() {
            probed.extend(self.attach_present(ebpf, &probes)?);
        }
        Ok(probed)
    }

    fn attach_present(&mut self, ebpf: &mut Ebpf, probes: &[&Probe]) -> Result<Vec<Probed>, AttachError> {
        let auto = self.way == AttachWay::Auto;
        let plans = probes.iter().map(|probe| probes::plan(probe.function, self.preemption));
        if auto
            && self.types.is_ok()
            && let Some(plan) = plans.reduce(|one, other| if one == other { one } else { Plan::Traced })
            && let Some(probed) = self.by_plan(ebpf, probes, plan)
        {
            return Ok(probed);
        }
        let no_fentry = match self.fentry(ebpf, probes) {
            Ok(probed) => return Ok(probed),
            Err(Failed::Refused(error)) => return Err(error),
            Err(failed) => failed.reason(),
        };
        if self.way != AttachWay::Fentry {
            return self.kprobes(ebpf, probes, auto.then_some(&no_fentry));
        }
        match probes.iter().find(|probe| probe.need == Need::Required) {
            Some(Probe { function, .. }) => Err(AttachError::NoFentry { function, reason: no_fentry }),
            None => Ok(unattached(probes, AttachMode::Fentry, &no_fentry)),
        }
    }

    /// Attaches probes as planned; `None` if one cannot be attached, or for the plan that is the rule.
    fn by_plan(&mut self, ebpf: &mut Ebpf, probes: &[&Probe], plan: Plan) -> Option<Vec<Probed>> {
        match plan {
            Plan::Traced => None,
            Plan::Probed => self.all_kprobes(ebpf, probes),
            Plan::Mixed => self.both_ways(ebpf, probes, |at| at == At::Entry, |at| at == At::Return),
            Plan::EntryTwice => self.both_ways(ebpf, probes, |at| at == At::Entry, |_| true),
            Plan::BothTwice => self.both_ways(ebpf, probes, |_| true, |_| true),
        }
    }

    /// Attaches each probe by kprobe; `None` if one cannot be attached.
    fn all_kprobes(&self, ebpf: &mut Ebpf, probes: &[&Probe]) -> Option<Vec<Probed>> {
        let probed = self.kprobes(ebpf, probes, None).ok()?;
        probed.iter().all(|(status, _)| status.attached).then_some(probed)
    }

    /// Attaches the `probed` ends by kprobe and the `traced` ones by fentry and fexit.
    ///
    /// Returns `None` if one of them cannot be attached.
    ///
    /// Only for functions whose calls the kernel side recognises by packet or socket: the two ways see
    /// different stack addresses.
    fn both_ways(
        &mut self,
        ebpf: &mut Ebpf,
        probes: &[&Probe],
        probed: fn(At) -> bool,
        traced: fn(At) -> bool,
    ) -> Option<Vec<Probed>> {
        let ends = |wanted: fn(At) -> bool| -> Vec<&Probe> {
            probes.iter().copied().filter(|probe| wanted(probe.at)).collect()
        };
        let traced = ends(traced);
        let mut attached = self.fentry(ebpf, &traced).ok()?;
        let Some(by_kprobe) = self.all_kprobes(ebpf, &ends(probed)) else {
            traced.iter().for_each(|probe| unload(ebpf, &probe.traced()));
            return None;
        };
        attached.extend(by_kprobe);
        Some(attached)
    }

    /// Attaches all probes by fentry and fexit, or none.
    fn fentry(&mut self, ebpf: &mut Ebpf, probes: &[&Probe]) -> Result<Vec<Probed>, Failed> {
        let types = self.types.as_ref().map_err(|reason| Failed::Unattached(reason.clone()))?;
        let traced = || probes.iter().filter(|probe| probe.goes_by(AttachMode::Fentry));
        if traced().next().is_none() {
            return Err(Failed::Unattached("a module's function".to_owned()));
        }
        let mut probed = Vec::new();
        for probe in traced() {
            match trampoline(ebpf, probe, types) {
                Ok(misses) => probed.push((probe.status(AttachMode::Fentry, Ok(())), Some(misses))),
                Err(error) => {
                    for probe in traced() {
                        unload(ebpf, &probe.traced());
                    }
                    let reason = format!("{}: {}", probe.function, in_one_line(&error));
                    tracing::debug!(function = probe.function, error = in_full(&error), "not by fentry");
                    if lacks_trampolines(&error) {
                        self.types = Err(reason.clone());
                    }
                    return Err(known_cause(&error).map_or(Failed::Unattached(reason), Failed::Refused));
                }
            }
        }
        Ok(probed)
    }

    fn kprobes(
        &self,
        ebpf: &mut Ebpf,
        probes: &[&Probe],
        no_fentry: Option<&String>,
    ) -> Result<Vec<Probed>, AttachError> {
        let mut probed = Vec::new();
        for probe in probes.iter().filter(|probe| probe.goes_by(AttachMode::Kprobe)) {
            match kprobe(ebpf, probe, self.prepared.misses.is_some()) {
                Ok(misses) => {
                    let mut status = probe.status(AttachMode::Kprobe, Ok(()));
                    status.detail = no_fentry.map(|reason| format!("not by fentry: {reason}"));
                    probed.push((status, misses));
                }
                Err(Failed::Refused(error)) => return Err(error),
                Err(Failed::Paranoid(level)) if probe.need == Need::Required => {
                    return Err(AttachError::Paranoid(level));
                }
                Err(failed) => {
                    let reason = failed.reason();
                    let reason = match no_fentry {
                        Some(no_fentry) => format!("{reason}; by fentry: {no_fentry}"),
                        None => reason,
                    };
                    if probe.need == Need::Required {
                        return Err(AttachError::Attach { function: probe.function, reason });
                    }
                    probed.push((probe.status(AttachMode::Kprobe, Err(reason)), None));
                }
            }
        }
        Ok(probed)
    }
}

fn unattached(probes: &[&Probe], mode: AttachMode, why: &str) -> Vec<Probed> {
    probes
        .iter()
        .filter(|probe| probe.goes_by(mode))
        .map(|probe| (probe.status(mode, Err(why.to_owned())), None))
        .collect()
}

/// Loads and attaches one fentry or fexit program.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya has thirty types of program, and these are two")]
fn trampoline(ebpf: &mut Ebpf, probe: &Probe, types: &aya::Btf) -> Result<Misses, ProgramError> {
    let name = probe.traced();
    let absent = || ProgramError::UnexpectedProgramType;
    let program = ebpf.program_mut(&name).ok_or_else(absent)?;
    load_traced(program, probe.function, types)?;
    let fd = match program {
        Program::FEntry(program) => {
            program.attach()?;
            program.fd()
        }
        Program::FExit(program) => {
            program.attach()?;
            program.fd()
        }
        _ => return Err(absent()),
    };
    Misses::of_traced(fd?.as_fd()).ok_or(ProgramError::NotLoaded)
}

/// Has the verifier check a fentry or fexit program.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya has thirty types of program, and these are two")]
pub(super) fn load_traced(
    program: &mut Program,
    function: &str,
    types: &aya::Btf,
) -> Result<(), ProgramError> {
    match program {
        Program::FEntry(program) => FEntry::load(program, function, types),
        Program::FExit(program) => FExit::load(program, function, types),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Returns whether an error means that no function has a trampoline on this kernel.
fn lacks_trampolines(error: &ProgramError) -> bool {
    /// The kernel-internal ENOTSUPP, which leaks to user space here.
    /// (arch/*/net/bpf_jit_comp.c, kernel/bpf/trampoline.c)
    const ENOTSUPP: i32 = 524;
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code == Some(ENOTSUPP) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Detaches and unloads a program if it is loaded.
fn unload(ebpf: &mut Ebpf, name: &str) {
    let unloaded = match ebpf.program_mut(name) {
        Some(Program::FEntry(program)) => program.unload(),
        Some(Program::FExit(program)) => program.unload(),
        _ => Ok(()),
    };
    if let Err(error) = unloaded {
        tracing::debug!(program = name, %error, "was not loaded");
    }
}

enum Failed {
    /// The kernel refused the program itself.
    Refused(AttachError),
    /// The function cannot be probed.
    Unattached(String),
    /// No function can be probed by kprobe, because of kernel.perf_event_paranoid.
    Paranoid(u8),
}

impl Failed {
    /// Describes the failure.
    fn reason(self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Unattached(reason) => reason,
            Self::Paranoid(level) => AttachError::Paranoid(level).to_string(),
        }
    }
}

fn kprobe(ebpf: &mut Ebpf, probe: &Probe, counted: bool) -> Result<Option<Misses>, Failed> {
    let program: &mut KProbe = ebpf
        .program_mut(&probe.probing())
        .ok_or_else(|| absent(probe.program))
        .and_then(|program| program.try_into().map_err(|error| refused(probe.program, &error)))
        .map_err(Failed::Refused)?;
    program.load().map_err(|error| Failed::Refused(refused(probe.program, &error)))?;
    match program.attach(probe.function, 0) {
        Ok(_held_by_the_program) => {
            Ok(program.fd().ok().filter(|_| counted).and_then(|program| Misses::of(program.as_fd())))
        }
        Err(error) => Err(why_unattached(&error)),
    }
}

fn why_unattached(error: &ProgramError) -> Failed {
    if let Some(cause) = known_cause(error) {
        return Failed::Refused(cause);
    }
    match (errno(error), hidden::paranoid()) {
        (Some(Errno::EACCES | Errno::EPERM), Some(level @ 3..)) => Failed::Paranoid(level),
        _ => Failed::Unattached(in_one_line(error)),
    }
}

impl Probe {
    /// Name of the fentry or fexit program in the object.
    pub(super) fn traced(&self) -> String {
        match self.at {
            At::Entry => format!("{PREFIX}{}_fentry", self.program),
            At::Return => format!("{PREFIX}{}_fexit", self.function),
        }
    }

    /// Name of the kprobe or kretprobe program in the object.
    fn probing(&self) -> String {
        format!("{PREFIX}{}", self.program)
    }
}
