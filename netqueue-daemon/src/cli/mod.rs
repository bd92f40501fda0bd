//! The command line: the machine's own report, and clients of a running daemon.

mod arguments;
pub mod ask;
pub mod doctor;
pub mod documents;
pub mod events;
pub mod exit;
pub mod explain;
pub mod follow;
pub mod format;
pub mod listeners;
pub mod narrative;
pub mod record;
pub mod replay;
pub mod resets;
pub mod selector;
pub mod status;
pub mod style;
pub mod table;
pub mod terminal;
mod verdicts;

pub use arguments::{Arguments, Command};
