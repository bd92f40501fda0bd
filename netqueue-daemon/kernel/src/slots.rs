//! Sizes the maps of accounts, and maps their counts into memory.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, Stack},
};
use netqueue_common::{
    Control, CounterRow, GenerationRow, KernelLayout, QueueSample, SlotMeta, Tallies, TrafficRow, Waits,
    names,
};
use netqueue_domain::{DroppedAckCacheUse, Features};
use zerocopy::FromBytes;

use super::{
    counters::Counters,
    cpus::Cpus,
    error::{AttachError, absent, refused},
    mapped::Mapped,
    memory_limit,
    room::{OTHERS, Room},
    traffic::TrafficRows,
};

/// Slots for accounts, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    room: Room,
    cpus: Cpus,
}

/// Purpose of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    Listener = 0,
    Endpoint = 1,
    Other = 2,
}

impl Purpose {
    /// Every purpose.
    pub(super) const ALL: [Self; 3] = [Self::Listener, Self::Endpoint, Self::Other];

    /// Returns the label value of the purpose.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listeners",
            Self::Endpoint => "endpoints",
            Self::Other => "namespaces",
        }
    }
}

/// Entries of an LRU hash that one CPU may keep in its local free list.
///
/// The limit is LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c. With so many more, none is evicted before the
/// requested capacity is used.
const KEPT_BY_A_CPU: u32 = 128;

/// Number of inode numbers, from the first one on, whose generations are stored: 2 MiB.
///
/// A network namespace uses about a hundred.
const NUMBERS: u32 = 1 << 19;

/// Bytes of the ring buffer of final counters: some 2,900 namespaces that end between two readings.
const NETNS_FINALS: u32 = 1 << 18;

impl Slots {
    /// Allots slots for as many listeners and endpoints as requested; else as many as fit ([`Room::new`]).
    pub(super) fn new(listeners: Option<u32>) -> Self {
        let cpus = Cpus::here();
        Self { room: Room::new(listeners, cpus), cpus }
    }

    /// Describes the memory allotted to accounts.
    pub(super) fn in_words(self) -> String {
        let Self { room: Room { listeners, rows }, cpus: Cpus { possible, present } } = self;
        let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        format!(
            "{listeners} listeners and as many ports without one, {rows} of counts each, {} MiB; CPUs: {present} present, \
             {possible} possible",
            self.room.bytes() >> 20
        )
    }

    /// Adds to a refusal for lack of memory what these slots need.
    pub(super) fn explain(self, refusal: AttachError) -> AttachError {
        let AttachError::Refused { what, no_memory: true, .. } = refusal else { return refusal };
        AttachError::NoMemory {
            what,
            bytes: self.room.bytes(),
            listeners: self.room.listeners,
            limit: memory_limit::in_words(),
        }
    }

    /// Number of possible CPUs.
    pub(super) const fn cpus(self) -> u32 {
        self.cpus.possible
    }

    /// Returns the purpose of a slot: numbers are given to the free stacks in this order.
    pub(super) const fn purpose(self, slot: u32) -> Purpose {
        if slot < self.room.listeners {
            Purpose::Listener
        } else if slot < self.room.listeners * 2 {
            Purpose::Endpoint
        } else {
            Purpose::Other
        }
    }

    /// Number of slots for a purpose.
    pub(super) const fn number(self, purpose: Purpose) -> u32 {
        match purpose {
            Purpose::Listener | Purpose::Endpoint => self.room.listeners,
            Purpose::Other => OTHERS,
        }
    }

    /// Returns the layout with this machine's numbers of CPUs, rows and slots.
    pub(super) const fn describe(self, layout: &KernelLayout) -> KernelLayout {
        let Self { room: Room { listeners, rows }, cpus } = self;
        KernelLayout {
            cpus: cpus.possible,
            rows,
            row_mask: rows - 1,
            listeners,
            open_to_all: self.room.open_to_all(),
            state_mask: cpus.possible.next_power_of_two() - 1,
            ..*layout
        }
    }

    /// Sets the sizes of the maps before they are created.
    pub(super) fn size(self, loader: &mut EbpfLoader<'_>, dropped_ack_cache: u32) {
        let Self { room: Room { listeners, rows }, cpus: Cpus { possible, .. } } = self;
        let slots = self.room.slots();
        loader
            .map_max_entries(names::SLOTS, slots)
            .map_max_entries(names::FREE_LISTENERS, self.room.open_to_all())
            .map_max_entries(names::FREE_RESERVED, listeners - self.room.open_to_all())
            .map_max_entries(names::FREE_ENDPOINTS, listeners)
            .map_max_entries(names::FREE_OTHERS, OTHERS)
            .map_max_entries(names::ACCOUNTS, slots)
            .map_max_entries(names::COUNTS, slots * rows)
            .map_max_entries(names::TRAFFIC, listeners * rows)
            .map_max_entries(names::WAITS, listeners)
            .map_max_entries(names::QUEUE_SAMPLES, listeners)
            .map_max_entries(names::TALLIES, possible)
            .map_max_entries(names::MIB_BASELINES, baselines())
            .map_max_entries(names::DROPPED_ACKS, dropped_ack_cache + KEPT_BY_A_CPU * possible)
            .map_max_entries(names::NETNS_GENERATIONS, NUMBERS / GenerationRow::COUNT as u32)
            .map_max_entries(names::NETNS_FINALS, NETNS_FINALS);
    }

    /// Fills the kernel side's stacks of free slots. Call it before anything is attached.
    pub(super) fn hand_out(self, ebpf: &mut Ebpf) -> Result<(), AttachError> {
        let mut next = 0..self.room.slots();
        for (name, number) in [
            (names::FREE_LISTENERS, self.room.open_to_all()),
            (names::FREE_RESERVED, self.room.listeners - self.room.open_to_all()),
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

    /// Maps the counts into memory.
    pub(super) fn map(self, ebpf: &Ebpf, dropped_ack_cache: u32) -> Result<Counters, AttachError> {
        let (slots, rows) = (self.room.slots() as usize, self.room.rows as usize);
        Ok(Counters::new(
            mapped::<SlotMeta>(ebpf, names::ACCOUNTS, slots)?,
            mapped::<CounterRow>(ebpf, names::COUNTS, slots * rows)?,
            mapped::<Tallies>(ebpf, names::TALLIES, self.cpus.possible as usize)?,
            rows,
            DroppedAckCacheUse { capacity: dropped_ack_cache.into(), ..DroppedAckCacheUse::default() },
        ))
    }

    /// Maps the listeners' traffic into memory.
    pub(super) fn map_traffic(self, ebpf: &Ebpf, features: Features) -> Result<TrafficRows, AttachError> {
        let (listeners, rows) = (self.room.listeners as usize, self.room.rows as usize);
        let control = array(ebpf, names::CONTROL)?.fd();
        Ok(TrafficRows::new(
            mapped::<TrafficRow>(ebpf, names::TRAFFIC, listeners * rows)?,
            mapped::<Waits>(ebpf, names::WAITS, listeners)?,
            mapped::<QueueSample>(ebpf, names::QUEUE_SAMPLES, listeners)?,
            Mapped::<Control>::writable(control, 1).map_err(|error| refused(names::CONTROL, &error))?,
            rows,
            features.queue_depth,
        ))
    }
}

/// Number of baselines: one for each namespace and CPU on which something was dropped.
///
/// Enough for 1,024 namespaces that drop on each CPU that is online, at about 100 bytes each.
fn baselines() -> u32 {
    const EACH: u32 = 1024;
    const FEWEST: u32 = 1 << 14;
    const MOST: u32 = 1 << 18;
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    let online = aya::util::online_cpus().map_or(online, |cpus| cpus.len());
    u32::try_from(online).unwrap_or(MOST).saturating_mul(EACH).clamp(FEWEST, MOST)
}

fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, AttachError> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map),
        Some(_) | None => Err(absent(name)),
    }
}

/// Maps the generations of inode numbers into memory.
pub(super) fn map_lives(
    ebpf: &Ebpf,
    told: bool,
) -> Result<super::netns_generations::NetnsGenerations, AttachError> {
    let elements = NUMBERS as usize / GenerationRow::COUNT;
    Ok(super::netns_generations::NetnsGenerations::new(
        mapped::<GenerationRow>(ebpf, names::NETNS_GENERATIONS, elements)?,
        told,
    ))
}

fn mapped<T: FromBytes>(ebpf: &Ebpf, name: &str, elements: usize) -> Result<Mapped<T>, AttachError> {
    Mapped::new(array(ebpf, name)?.fd(), elements).map_err(|error| refused(name, &error))
}
