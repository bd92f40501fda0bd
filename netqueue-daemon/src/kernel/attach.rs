//! Brings the kernel side up: load, attach, and from then on hold it; dropping [`Attached`] detaches everything.

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, PerCpuHashMap, RingBuf},
    programs::KProbe,
};
use netqueue_common::{Counts, KernelLayout, ListenerKey, names};

use super::{
    counters::Counters,
    error::{AttachError, in_one_line},
    object::OBJECT,
    preflight::Prepared,
    probes::{PROBES, Probe},
    ring::Ring,
};
use crate::domain::ProbeStatus;

/// How the kernel side is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Size of the ring buffer in bytes: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Listeners, and endpoints without one, that have counts of their own; `None`: as many as 8 MiB hold, on each of the two maps.
    pub max_listeners: Option<u32>,
    /// Whether the programs write debug lines to the log.
    pub debug: bool,
}

/// Bytes of kernel memory each of the two maps of counts may take where no number of listeners is asked for.
const COUNTS_BUDGET: u64 = 8 << 20;

/// The attached kernel side.
pub struct Attached {
    /// Holds programs and links.
    _ebpf: Ebpf,
    /// The exact counts.
    pub counters: Counters,
    /// The events.
    pub ring: Ring,
    /// Each probe and whether it is attached.
    pub probes: Vec<ProbeStatus>,
    /// The programs' debug lines, where asked for.
    pub logger: Option<Logger>,
}

/// Loads and attaches everything.
///
/// # Errors
/// Whatever keeps a required probe from being attached; nothing stays attached then.
pub fn attach(settings: &LoadSettings) -> Result<Attached, AttachError> {
    let prepared = Prepared::new()?;
    lift_memory_lock();
    let mut ebpf = load(&prepared.layout, settings)?;
    let logger = settings.debug.then(|| aya_log::EbpfLogger::init(&mut ebpf).ok()).flatten();
    let probes =
        PROBES.iter().map(|probe| attach_one(&mut ebpf, &prepared, probe)).collect::<Result<Vec<_>, _>>()?;
    let counters = Counters::new(
        counts_map(&mut ebpf, names::LISTENERS)?,
        counts_map(&mut ebpf, names::ENDPOINTS)?,
        counts_map(&mut ebpf, names::OTHERS)?,
        PerCpuArray::try_from(take(&mut ebpf, names::TALLIES)?)
            .map_err(|error| refused(names::TALLIES, &error))?,
    );
    let events =
        RingBuf::try_from(take(&mut ebpf, names::EVENTS)?).map_err(|error| refused(names::EVENTS, &error))?;
    let ring = Ring::new(events, prepared.reset_reasons);
    Ok(Attached { _ebpf: ebpf, counters, ring, probes, logger })
}

fn load(layout: &KernelLayout, settings: &LoadSettings) -> Result<Ebpf, AttachError> {
    let listeners = settings.max_listeners.unwrap_or_else(default_max_listeners);
    let log_level: u8 = if settings.debug { aya_log_level_debug() } else { 0 };
    EbpfLoader::new()
        .btf(None)
        .override_global(names::LAYOUT, layout, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries(names::LISTENERS, listeners)
        .map_max_entries(names::ENDPOINTS, listeners)
        .map_max_entries(names::EVENTS, settings.ring_bytes)
        .load(OBJECT)
        .map_err(|error| refused("the object", &error))
}

/// Before 5.11 maps count against RLIMIT_MEMLOCK. Where the limit may not be lifted, loading fails and says so.
fn lift_memory_lock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// aya-log's levels begin with 1 for error.
const fn aya_log_level_debug() -> u8 {
    4
}

fn default_max_listeners() -> u32 {
    let cpus = aya::util::nr_cpus().unwrap_or(1).max(1) as u64;
    let entry = cpus * size_of::<Counts>() as u64;
    u32::try_from(COUNTS_BUDGET / entry).unwrap_or(u32::MAX).clamp(256, 16_384)
}

fn attach_one(ebpf: &mut Ebpf, prepared: &Prepared, probe: &Probe) -> Result<ProbeStatus, AttachError> {
    if !prepared.symbols.contains(probe.function) {
        if probe.required {
            return Err(AttachError::FunctionMissing { function: probe.function, cost: probe.cost });
        }
        return Ok(probe.status(Err(format!("the kernel has no function {}", probe.function))));
    }
    let program: &mut KProbe = ebpf
        .program_mut(probe.program)
        .ok_or_else(|| AttachError::Refused {
            what: probe.program.into(),
            reason: "it is not in the object".into(),
        })?
        .try_into()
        .map_err(|error| refused(probe.program, &error))?;
    program.load().map_err(|error| refused(probe.program, &error))?;
    match program.attach(probe.function, 0) {
        Ok(_held_by_the_program) => Ok(probe.status(Ok(()))),
        Err(error) if probe.required => {
            Err(AttachError::Attach { function: probe.function, reason: in_one_line(&error) })
        }
        Err(error) => Ok(probe.status(Err(in_one_line(&error)))),
    }
}

/// Verifies every program without attaching any: what can be known where kprobes are missing.
pub(super) fn verify(layout: &KernelLayout) -> Result<usize, AttachError> {
    let settings = LoadSettings { ring_bytes: 1 << 16, max_listeners: Some(16), debug: false };
    let mut ebpf = load(layout, &settings)?;
    for (name, program) in ebpf.programs_mut() {
        let name = name.to_owned();
        let program: &mut KProbe = program.try_into().map_err(|error| refused(&name, &error))?;
        program.load().map_err(|error| refused(&name, &error))?;
    }
    Ok(PROBES.len())
}

fn counts_map(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<PerCpuHashMap<MapData, ListenerKey, Counts>, AttachError> {
    PerCpuHashMap::try_from(take(ebpf, name)?).map_err(|error| refused(name, &error))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, AttachError> {
    ebpf.take_map(name).ok_or_else(|| AttachError::Refused {
        what: name.to_owned(),
        reason: "it is not in the object".into(),
    })
}

fn refused(what: &str, error: &dyn std::error::Error) -> AttachError {
    AttachError::Refused { what: what.to_owned(), reason: in_one_line(error) }
}

/// Forwards the programs' debug lines to the log.
pub type Logger = aya_log::EbpfLogger<&'static dyn log::Log>;

/// Names of the kernel's reset reasons.
pub(super) type ResetReasons = BTreeMap<u32, Arc<str>>;
