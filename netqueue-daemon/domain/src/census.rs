//! What the inventory has cost: how often it looked, at how much, and how long that took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Looks at all listeners, and at who holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Census {
    /// Times every namespace was looked at.
    pub looks: u64,
    /// How long all of them took together.
    pub took: Duration,
    /// Namespaces in the last one.
    pub namespaces: u64,
    /// Listeners in it.
    pub listeners: u64,
    /// listen() calls there was no room for until their listeners were found.
    pub calls_lost: u64,
    /// The search for those who hold them; a part of [`Self::took`].
    pub owners: OwnerSearch,
}

/// Passes over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnerSearch {
    /// Passes made.
    pub passes: u64,
    /// How long all of them took together.
    pub took: Duration,
    /// Processes looked at in the last one.
    pub processes: u64,
    /// Their descriptors.
    pub descriptors: u64,
    /// Processes that may not be looked at.
    pub denied: u64,
}
