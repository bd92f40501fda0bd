//! netqueue attributes the kernel's own listen-drop and reset counters to the listener and cause that earned them,
//! exactly, as they happen.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod inventory;
pub mod kernel;
pub mod pipeline;
pub mod snapshots;
