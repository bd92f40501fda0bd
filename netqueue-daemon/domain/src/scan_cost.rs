//! Cost of the inventory: number of passes, their size and their duration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Passes over all listeners, and over the processes that own them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScanCost {
    /// Number of passes over all namespaces.
    pub looks: u64,
    /// Total duration of all passes.
    pub took: Duration,
    /// Namespaces in the last pass.
    pub namespaces: u64,
    /// Listeners in the last pass.
    pub listeners: u64,
    /// Number of listen() calls forgotten for want of room before their listeners were found.
    pub calls_lost: u64,
    /// Search for the processes that own listeners; its duration is part of [`Self::took`].
    pub owners: OwnerSearch,
}

/// Passes over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerSearch {
    /// Number of passes.
    pub passes: u64,
    /// Total duration of all passes.
    pub took: Duration,
    /// Processes read in the last pass.
    pub processes: u64,
    /// Descriptors of the processes read in the last pass.
    pub descriptors: u64,
    /// Processes that netqueue is not permitted to read.
    pub denied: u64,
}
