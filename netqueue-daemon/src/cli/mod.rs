//! The command line's own reports.

pub mod doctor;
