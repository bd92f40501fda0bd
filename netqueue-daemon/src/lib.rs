//! netqueue attributes the kernel's own listen-drop and reset counters to the listener and cause that earned them,
//! exactly, as they happen.

pub mod api;
pub mod build_info;
pub mod config;
pub mod domain;
pub mod metrics;
pub mod snapshots;
pub mod web;
