//! One drop or reset, as it happened.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AccountKey, Timestamp, What};

/// Length and limit of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Entries in the queue.
    pub length: u32,
    /// Limit that the length is compared with. An accept queue takes one more than this.
    pub limit: u32,
}

/// Queues of a listener at one moment; each `None` where the event concerns no listener.
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

/// Remote end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Remote address.
    pub addr: IpAddr,
    /// Remote port.
    pub port: u16,
}

/// One drop or reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Time of the kernel's decision.
    pub time: Timestamp,
    /// Account that was charged.
    pub account: AccountKey,
    /// Local port, also where the account combines many ports.
    pub local_port: u16,
    /// Peer that sent the packet or receives the reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// Drop or reset, with its cause.
    pub what: What,
    /// Kernel's own reason for a reset, where it has one: an `sk_rst_reason` without its prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_reason: Option<Arc<str>>,
    /// The listener's queues at that moment.
    #[serde(default, skip_serializing_if = "is_default")]
    pub queues: Queues,
    /// CPU on which it happened.
    pub cpu: u32,
    /// Time from the drop of the final ACK to this reset, for an expired handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
}

/// Returns whether a value is the default, which serialization leaves out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
