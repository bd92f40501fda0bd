//! netqueue attributes the kernel's own listen-drop and reset counters to the listener and cause that
//! earned them, exactly, as they happen.

pub mod api;
pub mod app;
pub mod build_info;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod inventory;
pub mod journal;
pub mod memory;
pub mod metrics;
pub mod pipeline;
pub mod privileges;
pub mod recording;
pub mod runbooks;
pub mod service_manager;
pub mod snapshots;
pub mod spike_log;
pub mod ui;
pub mod web;
