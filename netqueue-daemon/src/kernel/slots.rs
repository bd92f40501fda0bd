//! How many accounts have counts of their own, and the maps that hold them.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, Stack},
};
use netqueue_common::{Account, Control, Counts, KernelLayout, Lives, Look, Tallies, Traffic, Waits, names};
use zerocopy::FromBytes;

use super::{
    counters::Counters,
    error::{AttachError, refused},
    mapped::Mapped,
    traffic::TrafficRows,
};
use crate::domain::{Features, LedgerUse};

/// Room for accounts, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Listeners, and as many local endpoints without one.
    listeners: u32,
    cpus: u32,
}

/// What a slot is for, in the numbers the kernel side's `keep_release` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    Listener = 0,
    Endpoint = 1,
    Other = 2,
}

impl Purpose {
    /// Each.
    pub(super) const ALL: [Self; 3] = [Self::Listener, Self::Endpoint, Self::Other];

    /// The label value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listeners",
            Self::Endpoint => "endpoints",
            Self::Other => "namespaces",
        }
    }
}

/// Entries that a CPU may keep for itself in a hash that forgets the least recently used (LOCAL_FREE_TARGET in
/// kernel/bpf/bpf_lru_list.c): with so many more, none is forgotten before the capacity asked for is used.
const KEPT_BY_A_CPU: u32 = 128;

/// Inode numbers, from the first one on, whose generations are kept: 2 MiB. A network namespace uses about a hundred.
const NUMBERS: u32 = 1 << 19;

/// Bytes of the ring buffer of namespaces that ended: some 2,900 between two looks.
const FAREWELLS: u32 = 1 << 18;

/// Namespaces that have an `other` bucket.
const OTHERS: u32 = 64;

impl Slots {
    /// Room for as many listeners, and as many endpoints, as asked for; else for as many as 8 MiB hold, but at least
    /// 1,024 and at most 4,096.
    pub(super) fn new(listeners: Option<u32>) -> Self {
        const BUDGET: usize = 8 << 20;
        let cpus = aya::util::nr_cpus().unwrap_or(1).max(1);
        let fitting = BUDGET / (cpus * size_of::<Counts>());
        let listeners =
            listeners.unwrap_or_else(|| u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1024, 4096));
        Self { listeners: listeners.max(1), cpus: u32::try_from(cpus).unwrap_or(u32::MAX) }
    }

    /// How many CPUs there may be.
    pub(super) const fn cpus(self) -> u32 {
        self.cpus
    }

    const fn all(self) -> u32 {
        self.listeners * 2 + OTHERS
    }

    /// What a slot is for: the stacks are filled in this order.
    pub(super) const fn purpose(self, slot: u32) -> Purpose {
        if slot < self.listeners {
            Purpose::Listener
        } else if slot < self.listeners * 2 {
            Purpose::Endpoint
        } else {
            Purpose::Other
        }
    }

    /// How many slots there are for a purpose.
    pub(super) const fn number(self, purpose: Purpose) -> u32 {
        match purpose {
            Purpose::Listener | Purpose::Endpoint => self.listeners,
            Purpose::Other => OTHERS,
        }
    }

    /// The layout with this machine's number of CPUs.
    pub(super) const fn describe(self, layout: &KernelLayout) -> KernelLayout {
        let state_mask = self.cpus.next_power_of_two() - 1;
        KernelLayout { cpus: self.cpus, listeners: self.listeners, state_mask, ..*layout }
    }

    /// Sets the sizes of the maps before they are made.
    pub(super) fn size(self, loader: &mut EbpfLoader<'_>, ledger: u32) {
        loader
            .map_max_entries(names::SLOTS, self.all())
            .map_max_entries(names::FREE_LISTENERS, self.listeners)
            .map_max_entries(names::FREE_ENDPOINTS, self.listeners)
            .map_max_entries(names::FREE_OTHERS, OTHERS)
            .map_max_entries(names::ACCOUNTS, self.all())
            .map_max_entries(names::COUNTS, self.all() * self.cpus)
            .map_max_entries(names::TRAFFIC, self.listeners * self.cpus)
            .map_max_entries(names::WAITS, self.listeners)
            .map_max_entries(names::LOOKS, self.listeners)
            .map_max_entries(names::TALLIES, self.cpus)
            .map_max_entries(names::LEDGER, ledger + KEPT_BY_A_CPU * self.cpus)
            .map_max_entries(names::LIVES, NUMBERS / Lives::COUNT as u32)
            .map_max_entries(names::FAREWELLS, FAREWELLS);
    }

    /// Hands out the slots to the kernel side. To be called before anything is attached.
    pub(super) fn hand_out(self, ebpf: &mut Ebpf) -> Result<(), AttachError> {
        let mut next = 0..self.all();
        for (name, number) in [
            (names::FREE_LISTENERS, self.number(Purpose::Listener)),
            (names::FREE_ENDPOINTS, self.number(Purpose::Endpoint)),
            (names::FREE_OTHERS, self.number(Purpose::Other)),
        ] {
            let map = ebpf.map_mut(name).ok_or_else(|| absent(name))?;
            let mut free: Stack<_, u32> = Stack::try_from(map).map_err(|error| refused(name, &error))?;
            for slot in next.by_ref().take(number as usize) {
                free.push(slot, 0).map_err(|error| refused(name, &error))?;
            }
        }
        Ok(())
    }

    /// Maps the counts.
    pub(super) fn map(self, ebpf: &Ebpf, ledger: u32) -> Result<Counters, AttachError> {
        let (slots, cpus) = (self.all() as usize, self.cpus as usize);
        Ok(Counters::new(
            mapped::<Account>(ebpf, names::ACCOUNTS, slots)?,
            mapped::<Counts>(ebpf, names::COUNTS, slots * cpus)?,
            mapped::<Tallies>(ebpf, names::TALLIES, cpus)?,
            cpus,
            LedgerUse { capacity: ledger.into(), ..LedgerUse::default() },
        ))
    }

    /// Maps what went through listeners.
    pub(super) fn map_traffic(self, ebpf: &Ebpf, features: Features) -> Result<TrafficRows, AttachError> {
        let (listeners, cpus) = (self.listeners as usize, self.cpus as usize);
        let control = array(ebpf, names::CONTROL)?.fd();
        Ok(TrafficRows::new(
            mapped::<Traffic>(ebpf, names::TRAFFIC, listeners * cpus)?,
            mapped::<Waits>(ebpf, names::WAITS, listeners)?,
            mapped::<Look>(ebpf, names::LOOKS, listeners)?,
            Mapped::<Control>::writable(control, 1).map_err(|error| refused(names::CONTROL, &error))?,
            cpus,
            features.queue_depth,
        ))
    }
}

fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, AttachError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map),
        Some(_) | None => Err(absent(name)),
    }
}

/// The generations of inode numbers.
pub(super) fn map_lives(ebpf: &Ebpf, told: bool) -> Result<super::lives::Numbers, AttachError> {
    let elements = NUMBERS as usize / Lives::COUNT;
    Ok(super::lives::Numbers::new(mapped::<Lives>(ebpf, names::LIVES, elements)?, told))
}

fn mapped<T: FromBytes>(ebpf: &Ebpf, name: &str, elements: usize) -> Result<Mapped<T>, AttachError> {
    Mapped::new(array(ebpf, name)?.fd(), elements).map_err(|error| refused(name, &error))
}

fn absent(name: &str) -> AttachError {
    AttachError::Refused { what: name.to_owned(), reason: "it is not in the object".to_owned() }
}
