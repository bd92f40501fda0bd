//! The kernel side as the daemon sees it: the only place that imports aya and the wire types.

mod attach;
mod btf;
mod counters;
mod decode;
mod empty;
mod error;
mod grace;
mod hook;
mod instructions;
mod keeper;
mod layout;
mod link_misses;
mod listens;
mod lives;
mod mapped;
mod misses;
mod object;
mod preflight;
mod probes;
mod recycle;
mod ring;
mod run_times;
mod slots;
mod symbols;
mod traffic;

pub use attach::{Attached, EventAllowance, LoadSettings, Logger, attach};
pub use counters::{Counters, Reading};
pub use decode::Decoder;
pub use empty::EmptyProbes;
pub use error::AttachError;
pub use listens::Listens;
pub use lives::{Farewells, Numbers};
pub use preflight::{Check, Outcome, examine};
pub use ring::{Drained, Ring};
pub use run_times::{RunTime, RunTimes};
