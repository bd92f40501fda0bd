//! The command line's own reports.

pub mod doctor;
pub mod record;
pub mod replay;
