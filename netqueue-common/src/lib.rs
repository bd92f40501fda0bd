#![no_std]
//! What netqueue's kernel side and its daemon must agree on, and nothing else: no logic, no I/O.
//!
//! Every type that crosses the border is `#[repr(C)]`, holds integers only, and has its layout proven by zerocopy's
//! derives (a padded struct does not compile). Integers become enums only after decoding.

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

/// Names of the maps and globals, as the loader looks them up.
pub mod names {
    /// Hash: [`ListenerKey`](crate::ListenerKey) to the number of the slot that holds its counts.
    pub const SLOTS: &str = "SLOTS";
    /// Stack of free slots for listeners, filled by the loader.
    pub const FREE_LISTENERS: &str = "FREE_LISTENERS";
    /// Stack of free slots for listeners that drop or reset, filled by the loader.
    pub const FREE_RESERVED: &str = "FREE_RESERVED";
    /// Stack of free slots for local endpoints without a listener, filled by the loader.
    pub const FREE_ENDPOINTS: &str = "FREE_ENDPOINTS";
    /// Stack of free slots for the `other` buckets of namespaces, filled by the loader.
    pub const FREE_OTHERS: &str = "FREE_OTHERS";
    /// Memory-mapped array: slot to [`Account`](crate::Account).
    pub const ACCOUNTS: &str = "ACCOUNTS";
    /// Memory-mapped array: slot times number of rows plus row to [`Counts`](crate::Counts).
    pub const COUNTS: &str = "COUNTS";
    /// Memory-mapped array: slot of a listener times number of rows plus row to [`Traffic`](crate::Traffic).
    pub const TRAFFIC: &str = "TRAFFIC";
    /// Memory-mapped array: slot of a listener to [`Waits`](crate::Waits).
    pub const WAITS: &str = "WAITS";
    /// Memory-mapped array: slot of a listener to [`Look`](crate::Look).
    pub const LOOKS: &str = "LOOKS";
    /// Memory-mapped array of one [`Control`](crate::Control), which the daemon writes.
    pub const CONTROL: &str = "CONTROL";
    /// Memory-mapped array: CPU to [`Tallies`](crate::Tallies).
    pub const TALLIES: &str = "TALLIES";
    /// Least-recently-used hash: [`Flow`](crate::Flow) to [`Suspect`](crate::Suspect).
    pub const LEDGER: &str = "LEDGER";
    /// Hash: a namespace's counters on one CPU to what they were at the last look.
    pub const LOOKED: &str = "LOOKED";
    /// Array of one word: 0 while no handshake is remembered.
    pub const REMEMBERING: &str = "REMEMBERING";
    /// Memory-mapped array: the generations of inode numbers, as [`Lives`](crate::Lives) packs them.
    pub const LIVES: &str = "LIVES";
    /// Ring buffer of [`Farewell`](crate::Farewell) records.
    pub const FAREWELLS: &str = "FAREWELLS";
    /// Ring buffer of [`ListenCall`](crate::ListenCall) records.
    pub const LISTENS: &str = "LISTENS";
    /// Ring buffer of [`Event`](crate::Event) records.
    pub const EVENTS: &str = "EVENTS";
    /// Read-only global holding a [`KernelLayout`](crate::KernelLayout).
    pub const LAYOUT: &str = "LAYOUT";
}
