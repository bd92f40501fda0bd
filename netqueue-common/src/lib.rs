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
mod tally;

pub use cell::Cell;
pub use counts::Counts;
pub use event::{Event, NO_REASON, UNKNOWN_LENGTH};
pub use key::ListenerKey;
pub use layout::KernelLayout;
pub use tally::Tally;

/// Names of the maps and globals, as the loader looks them up.
pub mod names {
    /// Per-CPU hash: [`ListenerKey`](crate::ListenerKey) of a listener to its [`Counts`](crate::Counts).
    pub const LISTENERS: &str = "LISTENERS";
    /// Per-CPU hash: key of a local address and port no listener is concerned with, to its counts.
    pub const ENDPOINTS: &str = "ENDPOINTS";
    /// Per-CPU hash: key holding a network namespace only, to what found no room in the two maps above.
    pub const OTHERS: &str = "OTHERS";
    /// Per-CPU array indexed by [`Tally`](crate::Tally).
    pub const TALLIES: &str = "TALLIES";
    /// Ring buffer of [`Event`](crate::Event) records.
    pub const EVENTS: &str = "EVENTS";
    /// Read-only global holding a [`KernelLayout`](crate::KernelLayout).
    pub const LAYOUT: &str = "LAYOUT";
}
