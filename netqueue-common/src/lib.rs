#![no_std]
//! Types that netqueue's kernel side and its daemon share, and nothing else: no logic, no I/O.
//!
//! Every type that crosses the border is `#[repr(C)]`, contains integers only, and has its layout proven by
//! zerocopy's derives (a padded struct does not compile). Integers become enums only after decoding.

mod counter_id;
mod counter_row;
mod dropped_ack;
mod event;
mod key;
mod layout;
mod listen;
mod netns;
mod tally;
mod traffic;

pub use counter_id::CounterId;
pub use counter_row::CounterRow;
pub use dropped_ack::{DroppedAck, Flow};
pub use event::{EventRecord, NO_REASON, NO_SLOT, UNKNOWN_LENGTH};
pub use key::{ListenerKey, SlotMeta, control_status};
pub use layout::KernelLayout;
pub use listen::ListenRecord;
pub use netns::{GenerationRow, Namespace, NetnsFinalRecord};
pub use tally::{Tallies, Tally};
pub use traffic::{Control, PendingSet, QueueSample, TrafficRow, Waits};

/// Names of the maps and globals, for the loader and for `bpftool map`.
/// The prefix shows on a host that the maps are netqueue's. A map's name has room for 15 characters
/// (BPF_OBJ_NAME_LEN less the NUL).
pub mod names {
    /// Hash: [`ListenerKey`](crate::ListenerKey) to the number of the slot with its counts.
    pub const SLOTS: &str = "nq_slots";
    /// Stack of free slots for listeners, filled by the loader.
    pub const FREE_LISTENERS: &str = "nq_free_listen";
    /// Stack of free slots for listeners that drop or reset, filled by the loader.
    pub const FREE_RESERVED: &str = "nq_free_reserve";
    /// Stack of free slots for local endpoints without a listener, filled by the loader.
    pub const FREE_ENDPOINTS: &str = "nq_free_ports";
    /// Stack of free slots for the `other` buckets of namespaces, filled by the loader.
    pub const FREE_OTHERS: &str = "nq_free_others";
    /// Memory-mapped array: slot to [`SlotMeta`](crate::SlotMeta).
    pub const ACCOUNTS: &str = "nq_accounts";
    /// Memory-mapped array: slot times number of rows plus row to [`CounterRow`](crate::CounterRow).
    pub const COUNTS: &str = "nq_counts";
    /// Memory-mapped array of [`TrafficRow`](crate::TrafficRow): listener's slot times rows plus row.
    pub const TRAFFIC: &str = "nq_traffic";
    /// Memory-mapped array: slot of a listener to [`Waits`](crate::Waits).
    pub const WAITS: &str = "nq_accept_waits";
    /// Memory-mapped array: slot of a listener to [`QueueSample`](crate::QueueSample).
    pub const QUEUE_SAMPLES: &str = "nq_queue_sample";
    /// Memory-mapped array of one [`Control`](crate::Control), which the daemon writes.
    pub const CONTROL: &str = "nq_control";
    /// Memory-mapped array: CPU to [`Tallies`](crate::Tallies).
    pub const TALLIES: &str = "nq_tallies";
    /// Least-recently-used hash: [`Flow`](crate::Flow) to [`DroppedAck`](crate::DroppedAck).
    pub const DROPPED_ACKS: &str = "nq_dropped_acks";
    /// Least-recently-used hash: address of a socket whose reset was charged, while the call lasts.
    pub const ACTIVE_RESETS: &str = "nq_active_rst";
    /// Hash: address of a namespace's counters on one CPU to their values when they were last read.
    pub const MIB_BASELINES: &str = "nq_mib_baseline";
    /// Memory-mapped array of [`GenerationRow`](crate::GenerationRow): generations of inode numbers.
    pub const NETNS_GENERATIONS: &str = "nq_netns_gens";
    /// Ring buffer of [`NetnsFinalRecord`](crate::NetnsFinalRecord) records.
    pub const NETNS_FINALS: &str = "nq_netns_final";
    /// Ring buffer of [`ListenRecord`](crate::ListenRecord) records.
    pub const LISTENS: &str = "nq_listens";
    /// Ring buffer of [`EventRecord`](crate::EventRecord) records.
    pub const EVENTS: &str = "nq_events";
    /// Read-only global of type [`KernelLayout`](crate::KernelLayout).
    pub const LAYOUT: &str = "LAYOUT";
}
