//! The vocabulary of experiments: an incident, and the expected counters of kernel and netqueue.
//! Nothing here reads either.

use netqueue_api::EventKind;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use anyhow::Result;

use super::client::Server;
use super::counters::Counter;
use super::netns::Netns;

/// The causes of drops and resets, as netqueue's API spells them.
pub(super) mod cause {
    pub(crate) const ACCEPT_QUEUE_FULL: &str = "accept_queue_full";
    pub(crate) const SYN_QUEUE_FULL: &str = "syn_queue_full";
    pub(crate) const SYN_BACKLOG_RESERVE: &str = "syn_backlog_reserve";
    pub(crate) const OTHER: &str = "other";
    pub(crate) const NO_LISTENER: &str = "no_listener";
    pub(crate) const NO_CONNECTION: &str = "no_connection";
    pub(crate) const RESET_AGAIN: &str = "reset_again";
    pub(crate) const PEER_CLOSING: &str = "peer_closing";
    pub(crate) const AFTER_CLOSE: &str = "after_close";
    pub(crate) const EXPIRED_HANDSHAKE: &str = "expired_handshake";
    pub(crate) const UNKNOWN_CONNECTION: &str = "unknown_connection";
    pub(crate) const OVERFLOW_ABORT: &str = "overflow_abort";
    pub(crate) const HANDSHAKE_ABORTED: &str = "handshake_aborted";
    pub(crate) const CLOSE_UNREAD_DATA: &str = "close_unread_data";
    pub(crate) const LINGER_ZERO: &str = "linger_zero";
    pub(crate) const LISTENER_CLOSED: &str = "listener_closed";
    pub(crate) const KEEPALIVE_TIMEOUT: &str = "keepalive_timeout";
    pub(crate) const OUT_OF_MEMORY: &str = "out_of_memory";
}

/// The kernel's own reasons for a reset, from 6.10.
pub(super) mod reason {
    pub(crate) const NO_SOCKET: &str = "NO_SOCKET";
    pub(crate) const FLAGS: &str = "TCP_FLAGS";
    pub(crate) const TIME_WAIT: &str = "TCP_TIMEWAIT_SOCKET";
    pub(crate) const INVALID_SYN: &str = "INVALID_SYN";
    pub(crate) const ABORT_ON_DATA: &str = "TCP_ABORT_ON_DATA";
    pub(crate) const ABORT_ON_CLOSE: &str = "TCP_ABORT_ON_CLOSE";
    pub(crate) const ABORT_ON_MEMORY: &str = "TCP_ABORT_ON_MEMORY";
    pub(crate) const KEEPALIVE_TIMEOUT: &str = "TCP_KEEPALIVE_TIMEOUT";
    pub(crate) const STATE: &str = "TCP_STATE";
}

/// The stages of a handshake at which a packet can be dropped.
pub(super) mod stage {
    pub(crate) const SYN: &[&str] = &["syn"];
    pub(crate) const ACK: &[&str] = &["ack"];
    pub(crate) const COOKIE_ACK: &[&str] = &["cookie_ack"];
    pub(crate) const ANY: &[&str] = &["syn", "ack", "cookie_ack"];
}

/// The command line's settings of experiments.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabSettings {
    /// Number of drops the concurrency experiment must reach.
    pub min_drops: u64,
    /// Number of SYNs of the great flood.
    pub syns: u32,
    /// Number of daemons to start under load.
    pub starts: u32,
    /// Number of ports to open and close.
    pub ports: u32,
    /// Duration of the experiment with a healthy host, in seconds.
    pub healthy_seconds: u64,
    /// True if settings of the whole machine may be changed for a moment.
    pub host_settings: bool,
}

/// An incident that the lab can provoke.
pub(super) struct Experiment {
    pub number: &'static str,
    pub name: &'static str,
    /// The incident, in one sentence.
    pub incident: &'static str,
    /// The answer that a user should find in netqueue.
    pub verdict: &'static str,
    pub provoke: Scenario,
}

/// The environment in which an experiment is provoked.
pub(super) enum Scenario {
    /// In the network namespace of the calling thread.
    Inside(fn(&LabSettings) -> Result<Expectation>),
    /// In several namespaces, one after the other.
    InEach(u32, fn(&LabSettings) -> Result<Expectation>),
    /// With access to netqueue, for an experiment that observes it during the incident.
    Watching(fn(&Fixture<'_>) -> Result<Expectation>),
}

/// The means of an experiment that observes netqueue during the incident.
pub(super) struct Fixture<'a> {
    /// The daemon; `None` if it must not be queried.
    pub server: Option<&'a Server>,
    pub settings: LabSettings,
    /// The namespace of the incident.
    pub netns: &'a Netns,
}

/// The expected amount of something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    Exactly(u64),
    AtLeast(u64),
    /// The increase of the namespace's counter.
    All(Counter),
}

/// Drops of one cause, at one of some stages.
#[derive(Debug)]
pub(super) struct Share {
    pub cause: &'static str,
    pub stages: &'static [&'static str],
    pub amount: Amount,
}

/// The expected row of one listener.
#[derive(Debug)]
pub(super) struct ExpectedListener {
    pub address: SocketAddr,
    /// The breakdown of its drops, which must be complete.
    pub drops: Vec<Share>,
    /// The breakdown of the resets charged to it, which must be complete; `None` if timing decides.
    pub resets: Option<Vec<(&'static str, Amount)>>,
    /// True if every count of the namespace was charged to this listener.
    pub sole: bool,
}

impl ExpectedListener {
    /// Expects one of several listeners to have had a full accept queue `amount` times, and nothing else.
    pub(super) fn overflowed(address: SocketAddr, stages: &'static [&'static str], amount: Amount) -> Self {
        let drops = vec![Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount }];
        Self { address, drops, resets: Some(vec![]), sole: false }
    }
}

/// The expected content of new events of one kind; unexpected events fail the experiment.
#[derive(Debug)]
pub(super) struct ExpectedEvents {
    /// `drop` or `reset`
    pub kind: EventKind,
    pub cause: &'static str,
    pub stages: &'static [&'static str],
    pub port: u16,
    pub peers: Vec<SocketAddr>,
    pub at_least: usize,
    pub accept_queue: Option<QueueState>,
    pub syn_queue: Option<QueueState>,
}

/// Clients that are dropped more than once: counters count packets, events identify the clients.
#[derive(Debug)]
pub(super) struct Waiting {
    pub port: u16,
    pub clients: usize,
    /// Minimum number of drops of each client.
    pub times: usize,
}

/// The expected state of a queue in an event.
#[derive(Clone, Debug)]
pub(super) struct QueueState {
    pub length: RangeInclusive<u32>,
    pub limit: u32,
}

/// The outcome of a provoked incident, and the expectations of it.
#[derive(Default)]
pub(super) struct Expectation {
    /// The kernel counters that prove the incident.
    pub kernel: Vec<(Counter, Amount)>,
    pub listeners: Vec<ExpectedListener>,
    /// Resets by cause, at any address; resets of a cause not listed here are only counted.
    pub resets: Vec<(&'static str, Amount)>,
    /// The kernel's own reason for each cause, on kernels that give reasons.
    pub reasons: Vec<(&'static str, &'static str)>,
    /// The expected events; `None` if timing decides.
    pub events: Option<Vec<ExpectedEvents>>,
    /// Clients that retransmit again and again.
    pub waiting: Option<Waiting>,
    /// Measurements for the report.
    pub measured: Vec<String>,
    /// Problems found during the incident.
    pub problems: Vec<String>,
    /// The sockets, kept open until the comparison is done, because closing them would provoke more.
    pub open: Vec<Box<dyn Send>>,
}
