//! The words experiments are written in: what was provoked, and what must then be true of the kernel's counters and of
//! netqueue's. Nothing here looks at either.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use anyhow::Result;

use super::client::Server;
use super::counters::Counter;
use super::netns::Netns;

/// The causes netqueue gives, as its API spells them.
pub(super) mod cause {
    pub(in crate::lab) const ACCEPT_QUEUE_FULL: &str = "accept_queue_full";
    pub(in crate::lab) const SYN_QUEUE_FULL: &str = "syn_queue_full";
    pub(in crate::lab) const SYN_BACKLOG_RESERVE: &str = "syn_backlog_reserve";
    pub(in crate::lab) const OTHER: &str = "other";
    pub(in crate::lab) const NO_LISTENER: &str = "no_listener";
    pub(in crate::lab) const AFTER_CLOSE: &str = "after_close";
    pub(in crate::lab) const EXPIRED_HANDSHAKE: &str = "expired_handshake";
    pub(in crate::lab) const UNKNOWN_CONNECTION: &str = "unknown_connection";
    pub(in crate::lab) const OVERFLOW_ABORT: &str = "overflow_abort";
    pub(in crate::lab) const HANDSHAKE_ABORTED: &str = "handshake_aborted";
    pub(in crate::lab) const CLOSE_UNREAD_DATA: &str = "close_unread_data";
    pub(in crate::lab) const LINGER_ZERO: &str = "linger_zero";
    pub(in crate::lab) const LISTENER_CLOSED: &str = "listener_closed";
    pub(in crate::lab) const KEEPALIVE_TIMEOUT: &str = "keepalive_timeout";
    pub(in crate::lab) const OUT_OF_MEMORY: &str = "out_of_memory";
}

/// The kernel's own words for why it sent a reset, from 6.10.
pub(super) mod reason {
    pub(in crate::lab) const NO_SOCKET: &str = "NO_SOCKET";
    pub(in crate::lab) const FLAGS: &str = "TCP_FLAGS";
    pub(in crate::lab) const TIME_WAIT: &str = "TCP_TIMEWAIT_SOCKET";
    pub(in crate::lab) const INVALID_SYN: &str = "INVALID_SYN";
    pub(in crate::lab) const ABORT_ON_DATA: &str = "TCP_ABORT_ON_DATA";
    pub(in crate::lab) const ABORT_ON_CLOSE: &str = "TCP_ABORT_ON_CLOSE";
    pub(in crate::lab) const ABORT_ON_MEMORY: &str = "TCP_ABORT_ON_MEMORY";
    pub(in crate::lab) const KEEPALIVE_TIMEOUT: &str = "TCP_KEEPALIVE_TIMEOUT";
    pub(in crate::lab) const STATE: &str = "TCP_STATE";
}

/// The stages of a handshake a packet can be dropped at.
pub(super) mod stage {
    pub(in crate::lab) const SYN: &[&str] = &["syn"];
    pub(in crate::lab) const ACK: &[&str] = &["ack"];
    pub(in crate::lab) const COOKIE_ACK: &[&str] = &["cookie_ack"];
    pub(in crate::lab) const ANY: &[&str] = &["syn", "ack", "cookie_ack"];
}

/// What the command line can change about an experiment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How many drops the concurrency experiment must reach.
    pub min_drops: u64,
    /// How many SYNs the great flood has.
    pub syns: u32,
    /// How many daemons start under load.
    pub starts: u32,
    /// How many ports come and go.
    pub ports: u32,
    /// Whether settings of the whole machine may be changed for a moment.
    pub host_settings: bool,
}

/// One incident that can be provoked.
pub(super) struct Experiment {
    pub number: &'static str,
    pub name: &'static str,
    /// What is done, in one sentence.
    pub incident: &'static str,
    /// What a person should read in netqueue about it.
    pub verdict: &'static str,
    pub provoke: Provoke,
}

/// How an experiment is provoked.
pub(super) enum Provoke {
    /// In the network namespace of the calling thread.
    Inside(fn(&Settings) -> Result<Scene>),
    /// The same in several namespaces, one after the other.
    InEach(u32, fn(&Settings) -> Result<Scene>),
    /// From where netqueue can be asked, for an experiment that looks at it while the incident goes on.
    Watching(fn(&Bench<'_>) -> Result<Scene>),
}

/// What an experiment has that looks at netqueue while the incident goes on.
pub(super) struct Bench<'a> {
    /// `None` if netqueue must not be asked.
    pub server: Option<&'a Server>,
    pub settings: Settings,
    /// The namespace the incident is provoked in.
    pub netns: &'a Netns,
}

/// How much of something there must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    Exactly(u64),
    AtLeast(u64),
    /// As much as the namespace's counter rose.
    All(Counter),
}

/// Drops of one cause, at one of some stages.
#[derive(Debug)]
pub(super) struct Share {
    pub cause: &'static str,
    pub stages: &'static [&'static str],
    pub amount: Amount,
}

/// What netqueue must say of one listener.
#[derive(Debug)]
pub(super) struct ExpectedListener {
    pub address: SocketAddr,
    /// The split of its drops, which must be complete.
    pub drops: Vec<Share>,
    /// The split of the resets it earned, which must be complete; `None` where timing decides.
    pub resets: Option<Vec<(&'static str, Amount)>>,
    /// Whether everything the namespace counted was charged to it.
    pub sole: bool,
}

impl ExpectedListener {
    /// A listener, one of several, whose accept queue was full `amount` times and that did nothing else.
    pub(super) fn overflowed(address: SocketAddr, stages: &'static [&'static str], amount: Amount) -> Self {
        let drops = vec![Share { cause: cause::ACCEPT_QUEUE_FULL, stages, amount }];
        Self { address, drops, resets: Some(vec![]), sole: false }
    }
}

/// What each new event of one kind must say; other events fail the experiment.
#[derive(Debug)]
pub(super) struct ExpectedEvents {
    /// `drop` or `reset`
    pub kind: &'static str,
    pub cause: &'static str,
    pub stages: &'static [&'static str],
    pub port: u16,
    pub peers: Vec<SocketAddr>,
    pub at_least: usize,
    pub accept_queue: Option<QueueState>,
    pub syn_queue: Option<QueueState>,
}

/// Clients that are dropped more than once: packets are counted, and whose they are can be told.
#[derive(Debug)]
pub(super) struct Waiting {
    pub port: u16,
    pub clients: usize,
    /// How often each of them was dropped at least.
    pub times: usize,
}

/// A queue as an event must show it.
#[derive(Clone, Debug)]
pub(super) struct QueueState {
    pub length: RangeInclusive<u64>,
    pub limit: u64,
}

/// What an experiment provoked.
#[derive(Default)]
pub(super) struct Scene {
    /// What shows that the incident did happen.
    pub kernel: Vec<(Counter, Amount)>,
    pub listeners: Vec<ExpectedListener>,
    /// Resets by cause, no matter at which address: those of a cause not named here are only counted.
    pub resets: Vec<(&'static str, Amount)>,
    /// The kernel's own reason beside each cause, where it gives reasons.
    pub reasons: Vec<(&'static str, &'static str)>,
    /// `None`: timing decides which events there are.
    pub events: Option<Vec<ExpectedEvents>>,
    /// Clients that wait and ask again and again.
    pub waiting: Option<Waiting>,
    /// What was measured on the way, for the reader.
    pub measured: Vec<String>,
    /// What was found wrong on the way.
    pub problems: Vec<String>,
    /// The sockets, kept open until the comparison is done: closing them would go on provoking.
    pub open: Vec<Box<dyn Send>>,
}
