//! Command line, and the commands that are not merely clients of a running daemon.

mod arguments;
pub mod doctor;
pub mod documents;
pub mod record;
pub mod replay;

pub use arguments::{Arguments, Command};
