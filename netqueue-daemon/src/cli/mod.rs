//! The command line: what it takes, and the commands that need more than a daemon to ask.

mod arguments;
pub mod doctor;
pub mod documents;
pub mod record;
pub mod replay;

pub use arguments::{Arguments, Command};
