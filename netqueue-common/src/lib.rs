#![no_std]
//! Types that netqueue's kernel side and its daemon share, and nothing else: no logic, no I/O.
//!
//! Every type that crosses the border is `#[repr(C)]`, contains integers only, and has its layout proven by
//! zerocopy's derives (a padded struct does not compile). Integers become enums only after decoding.

mod cell;
mod counts;
mod event;
mod key;
mod layout;
mod ledger;
mod listen;
mod namespace;
mod tally;
mod traffic;

pub use cell::Cell;
pub use counts::Counts;
pub use event::{Event, NO_REASON, NO_SLOT, UNKNOWN_LENGTH};
pub use key::{Account, ListenerKey, kept};
pub use layout::KernelLayout;
pub use ledger::{Flow, Suspect};
pub use listen::ListenCall;
pub use namespace::{Farewell, Lives, Namespace};
pub use tally::{Tallies, Tally};
pub use traffic::{Control, Look, QueuedSet, Traffic, Waits};

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
    /// Memory-mapped array: slot to [`Account`](crate::Account).
    pub const ACCOUNTS: &str = "nq_accounts";
    /// Memory-mapped array: slot times number of rows plus row to [`Counts`](crate::Counts).
    pub const COUNTS: &str = "nq_counts";
    /// Memory-mapped array: listener's slot times number of rows plus row to [`Traffic`](crate::Traffic).
    pub const TRAFFIC: &str = "nq_traffic";
    /// Memory-mapped array: slot of a listener to [`Waits`](crate::Waits).
    pub const WAITS: &str = "nq_accept_waits";
    /// Memory-mapped array: slot of a listener to [`Look`](crate::Look).
    pub const LOOKS: &str = "nq_queue_sample";
    /// Memory-mapped array of one [`Control`](crate::Control), which the daemon writes.
    pub const CONTROL: &str = "nq_control";
    /// Memory-mapped array: CPU to [`Tallies`](crate::Tallies).
    pub const TALLIES: &str = "nq_tallies";
    /// Least-recently-used hash: [`Flow`](crate::Flow) to [`Suspect`](crate::Suspect).
    pub const LEDGER: &str = "nq_dropped_acks";
    /// Least-recently-used hash: address of a socket whose reset was charged, while the call lasts.
    pub const ACTIVE_RESETS: &str = "nq_active_rst";
    /// Hash: address of a namespace's counters on one CPU to their values when they were last read.
    pub const LOOKED: &str = "nq_mib_baseline";
    /// Memory-mapped array: the generations of inode numbers, as [`Lives`](crate::Lives) packs them.
    pub const LIVES: &str = "nq_netns_gens";
    /// Ring buffer of [`Farewell`](crate::Farewell) records.
    pub const FAREWELLS: &str = "nq_netns_final";
    /// Ring buffer of [`ListenCall`](crate::ListenCall) records.
    pub const LISTENS: &str = "nq_listens";
    /// Ring buffer of [`Event`](crate::Event) records.
    pub const EVENTS: &str = "nq_events";
    /// Read-only global of type [`KernelLayout`](crate::KernelLayout).
    pub const LAYOUT: &str = "LAYOUT";
}
