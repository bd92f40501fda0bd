//! Interface to netqueue's eBPF programs: the daemon's only crate that uses aya and the wire types.

// A new outcome of attaching must not fall into an arm that was written before it.
#![warn(clippy::wildcard_enum_match_arm)]

mod attach;
mod btf;
mod control;
mod cookie_requests;
mod counters;
mod cpus;
mod decode;
pub mod doctor;
mod error;
mod hidden;
mod hook;
mod kprobe_misses;
mod late;
mod layout;
mod listens;
mod lockdown;
mod map_writer;
mod mapped;
mod memory_limit;
mod netns_generations;
mod noop;
mod object;
mod preemption;
mod preflight;
mod probes;
mod program_misses;
mod rcu;
mod reclaim;
#[cfg(test)]
mod reclaim_tests;
mod relocate;
mod ring;
mod room;
mod run_times;
mod slots;
mod switches;
mod symbols;
mod traffic;

pub use attach::{Attached, EventAllowance, LoadSettings, Logger, attach};
pub use cookie_requests::CookieRequests;
pub use counters::{Counters, Reading};
pub use decode::Decoder;
pub use error::{AttachError, FILES_NEEDED};
pub use listens::Listens;
pub use map_writer::MapWriter;
pub use netns_generations::{NetnsFinals, NetnsGenerations};
pub use noop::{FullTrampoline, NoopProbes};
pub use ring::{Drained, Ring};
pub use run_times::{RunTime, RunTimes};
pub use switches::switched_off;
