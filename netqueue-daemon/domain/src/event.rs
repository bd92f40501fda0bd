//! One drop or reset, as it happened.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AccountKey, Timestamp, What};

/// Length and limit of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Entries in the queue.
    pub length: u32,
    /// The setting it is compared with. An accept queue holds one more than this.
    pub limit: u32,
}

/// A listener's queues at one moment; `None` where the event concerns no listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queues {
    /// Connections waiting for accept().
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<QueueState>,
    /// Handshakes in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn: Option<QueueState>,
}

/// The other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
}

/// One drop or reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When the kernel decided.
    pub time: Timestamp,
    /// Who was charged.
    pub account: AccountKey,
    /// The local port, also where the account stands for many.
    pub local_port: u16,
    /// Who sent the packet, or is reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What happened.
    pub what: What,
    /// The kernel's own reason for a reset, on kernels that have one: the name of an `sk_rst_reason` without its prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_reason: Option<Arc<str>>,
    /// The listener's queues at that moment.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queues: Queues,
    /// The CPU.
    pub cpu: u32,
    /// For a reset of an expired handshake: how long before its final ACK had been dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
}

/// Whether a value says nothing: it is left out where it is written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
