//! Loads and attaches the kernel side, then operates it; dropping [`Attached`] detaches everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use aya::{Ebpf, EbpfLoader, maps::RingBuf, programs::Program};
use netqueue_common::{KernelLayout, names};
use netqueue_domain::{
    AccountKey, AttachMode, AttachWay, Counts, DroppedAckCacheUse, Features, ProbeStatus, SlotUse,
    TrafficReading,
};

use super::{
    control::{self, ControlPrograms},
    counters::Counters,
    error::{AttachError, absent, refused},
    hook::{Hooks, Probed},
    kprobe_misses,
    late::Late,
    listens::Listens,
    netns_generations::{NetnsFinals, NetnsGenerations},
    object,
    preemption::Preemption,
    preflight::Prepared,
    probes::{self, PROBES, Plan, Probe},
    program_misses::Misses,
    rcu,
    reclaim::Reclaimer,
    ring::Ring,
    slots::{self, Slots},
    traffic::TrafficRows,
};

/// Settings with which the kernel side is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Size of the ring buffer in bytes: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Number of listeners with their own counts; `None`: as many as fit into a few MiB.
    ///
    /// Endpoints without a listener have as many.
    pub max_listeners: Option<u32>,
    /// Number of handshakes with a dropped final ACK that the kernel side remembers.
    pub dropped_ack_cache_capacity: u32,
    /// Limit on the events of one account from one CPU; `None`: unlimited.
    pub event_allowance: Option<EventAllowance>,
    /// Way of attaching: fentry, kprobe, or whichever fits each function.
    pub attach: AttachWay,
    /// Observations beyond drops and resets.
    pub features: Features,
    /// Lowest level at which the eBPF programs write log lines; `None`: they write none.
    pub log_level: Option<tracing::Level>,
}

/// Limit on the events of one listener from one CPU. Events beyond it are counted, not sent; counts
/// stay exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventAllowance {
    /// Sustained events per second: at least 1.
    pub rate: u32,
    /// Events at once after a quiet time: at least 1.
    pub burst: u32,
}

impl LoadSettings {
    /// Smallest settings that still make the kernel verify every program and map.
    pub const TRIAL: Self = Self {
        ring_bytes: 1 << 16,
        max_listeners: Some(16),
        dropped_ack_cache_capacity: 1024,
        event_allowance: None,
        attach: AttachWay::Auto,
        features: Features { traffic: true, queue_depth: true, accept_wait: true },
        log_level: None,
    };

    fn describe(&self, layout: &KernelLayout) -> KernelLayout {
        let Some(EventAllowance { rate, burst }) = self.event_allowance else { return *layout };
        let event_cost = 1_000_000_000 / u64::from(rate.max(1));
        KernelLayout { event_cost, event_burst: event_cost * u64::from(burst.saturating_sub(1)), ..*layout }
    }
}

/// The attached kernel side.
pub struct Attached {
    /// Owner of programs, maps and links: dropping it detaches them.
    ebpf: Ebpf,
    /// The exact counts.
    pub counters: Counters,
    /// The events.
    pub ring: Ring,
    traffic: TrafficRows,
    features: Features,
    reclaimer: Reclaimer,
    /// Generations of inode numbers: which namespace has a number now.
    pub numbers: Arc<NetnsGenerations>,
    /// Final counters of namespaces that ended.
    pub finals: NetnsFinals,
    /// Reader of listen() calls; else the reason why this kernel reports none.
    pub listens: Result<Listens, String>,
    probes: Vec<Probed>,
    late: Late,
    /// Reader of the programs' debug lines, where requested.
    pub logger: Option<Logger>,
}

/// Loads and attaches everything.
///
/// # Errors
/// Whatever keeps a required probe from being attached; nothing stays attached then.
pub fn attach(settings: &LoadSettings) -> Result<Attached, AttachError> {
    let prepared = Prepared::new(settings.attach)?;
    let slots = Slots::new(settings.max_listeners);
    tracing::info!(allotted = slots.in_words(), "making room for accounts in the kernel");
    with_or_without_cast(&prepared.layout, |layout| attach_as(settings, &prepared, layout, slots))
        .map_err(|refusal| slots.explain(refusal))
}

/// Calls `act`, and again without `bpf_rdonly_cast` if the kernel refuses a program that calls it.
fn with_or_without_cast<T>(
    layout: &KernelLayout,
    act: impl Fn(&KernelLayout) -> Result<T, AttachError>,
) -> Result<T, AttachError> {
    match act(layout) {
        Err(AttachError::Refused { what, reason, no_memory: false }) if layout.rdonly_cast != 0 => {
            tracing::warn!(
                what,
                reason,
                "the kernel refuses bpf_rdonly_cast: reading takes a helper, and longer"
            );
            act(&KernelLayout { rdonly_cast: 0, ..*layout })
        }
        done => done,
    }
}

fn attach_as(
    settings: &LoadSettings,
    prepared: &Prepared,
    layout: &KernelLayout,
    slots: Slots,
) -> Result<Attached, AttachError> {
    lift_memory_lock();
    let mut ebpf = load(layout, settings, slots)?;
    slots.hand_out(&mut ebpf)?;
    let mut counters = slots.map(&ebpf, settings.dropped_ack_cache_capacity)?;
    let traffic = slots.map_traffic(&ebpf, settings.features)?;
    control::load(&mut ebpf)?;
    let logger = settings.log_level.and_then(|_| aya_log::EbpfLogger::init(&mut ebpf).ok());
    let wanted = |probe: &&Probe| settings.features.accept_wait || probe.function != probes::ACCEPT;
    let mut hooks = Hooks::new(prepared, settings.attach)?;
    let mut probes = Vec::new();
    for twins in PROBES.chunk_by(probes::are_twins) {
        let concern = |probe: &&Probe| wanted(probe) && probe.concerns(&prepared.symbols);
        probes.extend(hooks.attach(&mut ebpf, &twins.iter().filter(concern).collect::<Vec<_>>())?);
    }
    // Calls that only some of the programs saw have to end before baselines are taken.
    if let Err(error) = rcu::wait() {
        tracing::debug!(%error, "calls that were under way when programs were attached are not waited for");
    }
    if prepared.layout.net_namespace_list != 0 {
        ControlPrograms(&ebpf).note_counters(slots.cpus());
    }
    counters.begin_tallies();
    if let Some(field) = prepared.misses {
        let mut links = kprobe_misses::links();
        let by_kprobe = |(status, _): &&mut Probed| status.mode == AttachMode::Kprobe;
        for (_, misses) in probes.iter_mut().filter(by_kprobe) {
            if let Some(misses) = misses {
                misses.attached_by(&mut links, field);
            }
        }
    }
    let events =
        RingBuf::try_from(take(&mut ebpf, names::EVENTS)?).map_err(|error| refused(names::EVENTS, &error))?;
    let ring = Ring::new(events, prepared.reset_reasons.clone());
    let finals = RingBuf::try_from(take(&mut ebpf, names::NETNS_FINALS)?)
        .map_err(|error| refused(names::NETNS_FINALS, &error))?;
    let told = probes.iter().any(|(status, _)| status.program == probes::NUMBER_FREED && status.attached);
    let numbers = Arc::new(slots::map_lives(&ebpf, told)?);
    let reclaimer = Reclaimer::new(slots, rcu::possible());
    let finals = NetnsFinals::new(finals);
    let listens = Listens::attach(&mut ebpf);
    if let Err(reason) = &listens {
        tracing::warn!(reason, "arguments of listen() that somaxconn cuts down stay unknown");
    }
    let features = settings.features;
    Ok(Attached {
        ebpf,
        counters,
        ring,
        traffic,
        features,
        reclaimer,
        numbers,
        finals,
        listens,
        probes,
        late: Late::without(&prepared.symbols),
        logger,
    })
}

fn load(layout: &KernelLayout, settings: &LoadSettings, slots: Slots) -> Result<Ebpf, AttachError> {
    let features = settings.features;
    let layout = KernelLayout {
        queue_depth: features.queue_depth.into(),
        accept_wait: features.accept_wait.into(),
        ..settings.describe(&slots.describe(layout))
    };
    let log_level = settings.log_level.map_or(0, aya_log_level);
    let mut loader = EbpfLoader::new();
    slots.size(&mut loader, settings.dropped_ack_cache_capacity);
    loader
        .btf(None)
        .override_global(names::LAYOUT, &layout, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries(names::EVENTS, settings.ring_bytes)
        .load(&object::of(&layout)?)
        .map_err(|error| refused("the object", &error))
}

/// Lifts RLIMIT_MEMLOCK, against which maps count before 5.11. If it cannot be lifted there, loading
/// the maps fails with the reason.
pub(super) fn lift_memory_lock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!(%error, "RLIMIT_MEMLOCK stays as it is");
    }
}

/// Returns the number aya-log uses for a level; 0 is off.
const fn aya_log_level(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::ERROR => 1,
        tracing::Level::WARN => 2,
        tracing::Level::INFO => 3,
        tracing::Level::DEBUG => 4,
        tracing::Level::TRACE => 5,
    }
}

impl Attached {
    /// Lists each probe, whether it is attached, and how many of its runs the kernel has skipped so far.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeStatus> {
        let status = |(status, misses): &Probed| ProbeStatus {
            missed: misses.as_ref().and_then(Misses::read),
            ..status.clone()
        };
        self.probes.iter().map(status).collect()
    }

    /// Describes the losses that the kernel does not count on this host; `None` where there are none.
    #[must_use]
    pub fn caveats(&self) -> Option<String> {
        let interrupted = |(status, _): &&Probed| {
            status.attached
                && status.mode == AttachMode::Kprobe
                && probes::may_be_interrupted(&status.function)
        };
        let functions: BTreeSet<_> =
            self.probes.iter().filter(interrupted).map(|(status, _)| &*status.function).collect();
        let of_softirqs = |(status, _): &Probed| {
            status.attached
                && status.mode == AttachMode::Kprobe
                && probes::plan(&status.function, Preemption::Realtime) == Plan::Traced
        };
        (!functions.is_empty() && self.probes.iter().any(of_softirqs)).then(|| {
            format!(
                "attached by kprobe where a softirq may interrupt the program: while it does, the kernel skips \
                 netqueue's other kprobe programs on that CPU and does not count it, and what is dropped meanwhile \
                 shows as a residual (seen about once in 20,000 drops on a busy host): {}",
                functions.into_iter().collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// Samples the queues of all listeners, for the next [`Self::traffic`].
    ///
    /// A listener whose socket no longer listens is marked closed, so that the next reading reports it even
    /// where the kernel side missed its end.
    pub fn survey(&self) {
        let listeners = self.counters.used().filter(|slot| self.reclaimer.is_of_listener(*slot));
        TrafficRows::survey(ControlPrograms(&self.ebpf), listeners);
    }

    /// Returns each listener's traffic, and its queues as last sampled. A peak of an accept queue is
    /// reported once.
    pub fn traffic(&mut self) -> Vec<(AccountKey, TrafficReading)> {
        let owners = || self.counters.slots().filter_map(|slot| Some((slot.slot_ref.slot, slot.owner?)));
        let traffic = &mut self.traffic;
        owners().filter_map(|(slot, owner)| Some((owner, traffic.read(slot)?))).collect()
    }

    /// Returns the observations of healthy connections: those requested, less what the kernel cannot offer.
    #[must_use]
    pub fn features(&self) -> Features {
        let accept = self.probes.iter().find(|(status, _)| status.function == probes::ACCEPT);
        Features { accept_wait: accept.is_some_and(|(status, _)| status.attached), ..self.features }
    }

    /// Starts a new epoch: [`Self::traffic`] reports only peaks reached since this call.
    pub fn begin_epoch(&mut self) {
        self.traffic.begin_epoch();
    }

    /// Frees slots whose owners are gone, one step per call, and returns what they had counted.
    ///
    /// No later reading contains these counts. Call it about once a second, after a reading, and more often
    /// while [`Self::is_reclaiming`].
    pub fn reclaim(&mut self) -> Vec<(AccountKey, Counts)> {
        self.reclaimer.step(ControlPrograms(&self.ebpf), &mut self.counters, Instant::now())
    }

    /// Makes the kernel side charge what it deferred because another tracer hid a caller. Call it before a
    /// reading.
    pub fn settle(&mut self) {
        if self.counters.owes() {
            ControlPrograms(&self.ebpf).settle(self.counters.cpus());
        }
    }

    /// Returns whether slots are being freed, or few are left.
    #[must_use]
    pub fn is_reclaiming(&self) -> bool {
        self.reclaimer.is_busy()
    }

    /// Returns the kernel side's use of slots, as of the last reading.
    #[must_use]
    pub fn room(&self) -> Vec<SlotUse> {
        self.reclaimer.room(&self.counters)
    }

    /// Returns how full the kernel side's cache of dropped final ACKs is, as of the last reading.
    #[must_use]
    pub const fn dropped_ack_cache(&self) -> DroppedAckCacheUse {
        self.counters.dropped_ack_cache()
    }

    /// Warns of kernel modules loaded since attaching, whose functions are not watched.
    pub fn loaded_late(&self) -> impl Iterator<Item = String> {
        self.late.warnings()
    }

    /// Returns the reason why slots cannot be reused, if they cannot.
    #[must_use]
    pub fn reclaim_trouble(&self) -> Option<&str> {
        self.reclaimer.trouble()
    }
}

/// Verifies every program without attaching any: the most that can be tested where kprobes are missing.
pub(super) fn verify(layout: &KernelLayout) -> Result<usize, AttachError> {
    with_or_without_cast(layout, verify_as)
}

fn verify_as(layout: &KernelLayout) -> Result<usize, AttachError> {
    let mut ebpf = load(layout, &LoadSettings::TRIAL, Slots::new(LoadSettings::TRIAL.max_listeners))?;
    control::load(&mut ebpf)?;
    let mut accepted = 0;
    for (name, program) in ebpf.programs_mut() {
        if let Program::KProbe(program) = program {
            program.load().map_err(|error| refused(name, &error))?;
        }
        // Programs of fentry are verified against one function, when they are attached.
        accepted += usize::from(!matches!(program, Program::FEntry(_) | Program::FExit(_)));
    }
    Ok(accepted)
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, AttachError> {
    ebpf.take_map(name).ok_or_else(|| absent(name))
}

/// Forwards the programs' debug lines to the log.
pub type Logger = aya_log::EbpfLogger<&'static dyn log::Log>;

/// Names of the kernel's reset reasons, by value.
pub(super) type ResetReasons = BTreeMap<u32, Arc<str>>;
