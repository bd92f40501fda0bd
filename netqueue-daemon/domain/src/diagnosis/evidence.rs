//! Evidence for the rules: all facts about one account in a window of time, as plain numbers. Unknown
//! facts are `None`.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use crate::{Counts, DropCause, DropKind, IdleLimit, KernelCounter, Obstacle, ResetCause, Timestamp};

use super::{
    Subject,
    counterfactual::{Counterfactual, QueueFlow},
};

/// Facts about one account in a window of time.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Subject of the evidence.
    pub subject: Subject,
    /// Start and end of the window.
    pub window: (Timestamp, Timestamp),
    /// Charges in the window.
    pub counts: Counts,
    /// Connections through the accept queue between the first and the last drop of the window.
    pub flow: Option<QueueFlow>,
    /// Maximum length of the accept queue that was observed.
    pub accept_peak: Option<u32>,
    /// Connections waiting for accept() now.
    pub waiting: Option<u32>,
    /// Longest time from a refusal in the window on, in which clients waited and none was accepted. `None`
    /// if there was no such time, or if accepts are not counted.
    pub not_accepting_for: Option<Duration>,
    /// 99th percentile of the time connections waited for accept(), in seconds.
    pub wait_p99: Option<f64>,
    /// Backlog in force.
    pub backlog: Option<u32>,
    /// Term that decided the backlog.
    pub bound_by: Option<Bound>,
    /// Argument of the listen() call.
    pub listen_argument: Option<u32>,
    /// Sysctls of the namespace.
    pub settings: SysctlValues,
    /// Process that listens.
    pub owner: Option<ListeningProcess>,
    /// True if the listener has been closed since.
    pub closed: bool,
    /// Change that would have avoided the overflow of the accept queue.
    pub counterfactual: Option<Counterfactual>,
    /// Other members of the SO_REUSEPORT group; `None` if there are none or the listener is closed.
    pub group: Option<Group>,
    /// Peers in the account's events with the number of events, most frequent first.
    pub peers: Vec<(IpAddr, u64)>,
    /// For each cause of resets, events beyond the first of a client: they are no further clients.
    pub repeated_resets: Vec<(ResetCause, u64)>,
    /// Shortest and longest time from the drop of a handshake's final ACK to its reset.
    pub ages: Option<(Duration, Duration)>,
    /// Idle time after which the server closes connections, inferred from those it closed.
    pub idle_limit: Option<IdleLimit>,
    /// End of the server at this address and port, if its last listener was closed in the window.
    pub stopped: Option<Stopped>,
    /// Number of ports, if the subject combines many.
    pub ports: u64,
    /// Completeness of netqueue's own view.
    pub sight: Visibility,
}

/// End of a server, whose connections were reset as a consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Time since its listener was closed.
    pub ago: Duration,
    /// Process that had the listener.
    pub owner: Option<ListeningProcess>,
    /// True if something listens there again.
    pub reopened: bool,
    /// Charges of the address and port since shortly before the close.
    pub since: Counts,
}

/// Term that decides the backlog in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Argument of the listen() call.
    ListenArgument,
    /// net.core.somaxconn.
    Somaxconn,
    /// net.core.somaxconn as it was when the listener was opened, and raised since.
    EarlierSomaxconn,
}

/// Sysctls of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysctlValues {
    /// net.core.somaxconn
    pub somaxconn: Option<u32>,
    /// net.ipv4.tcp_max_syn_backlog
    pub max_syn_backlog: Option<u32>,
    /// net.ipv4.tcp_syncookies
    pub syncookies: Option<u32>,
    /// net.ipv4.tcp_abort_on_overflow
    pub abort_on_overflow: Option<u32>,
    /// net.ipv4.tcp_synack_retries
    pub synack_retries: Option<u32>,
    /// net.ipv4.tcp_migrate_req
    pub migrate_req: Option<u32>,
}

/// Process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListeningProcess {
    /// Short name.
    pub name: Arc<str>,
    /// Process id.
    pub pid: u32,
    /// Systemd unit, if there is one.
    pub unit: Option<Arc<str>>,
}

/// Other members of an SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number of other members.
    pub others: u32,
    /// Number of healthy others, which accept and dropped less than a tenth of this one's drops. Others
    /// whose accepts are not counted are assumed to accept.
    pub well: u32,
    /// Drops by full accept queues of all others in the window.
    pub drops: u64,
    /// True if the accepts of all others are counted.
    pub accepts_known: bool,
}

/// Completeness of netqueue's own view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Kernel functions whose programs should be attached but are not.
    pub unattached: Vec<Cow<'static, str>>,
    /// Number of program runs that the kernel skipped.
    pub missed: u64,
    /// Number of charges that may be missing.
    pub lost_charges: u64,
    /// Sum of the absolute values of all residuals.
    pub residual: u64,
    /// Conditions of the machine that hide charges.
    pub obstacles: Vec<Obstacle>,
}

impl Evidence {
    /// Creates evidence that has counts and nothing else.
    #[must_use]
    pub fn of(subject: Subject, window: (Timestamp, Timestamp), counts: Counts) -> Self {
        Self {
            subject,
            window,
            counts,
            flow: None,
            accept_peak: None,
            waiting: None,
            not_accepting_for: None,
            wait_p99: None,
            backlog: None,
            bound_by: None,
            listen_argument: None,
            settings: SysctlValues::default(),
            owner: None,
            closed: false,
            counterfactual: None,
            group: None,
            peers: Vec::new(),
            repeated_resets: Vec::new(),
            ages: None,
            idle_limit: None,
            stopped: None,
            ports: 1,
            sight: Visibility::default(),
        }
    }

    /// Returns the drops of one kind.
    #[must_use]
    pub fn drops(&self, kind: DropKind) -> u64 {
        self.counts.drops().find(|(of, _)| *of == kind).map_or(0, |(_, drops)| drops)
    }

    /// Returns the drops of one cause, at any stage.
    #[must_use]
    pub fn drops_by(&self, cause: DropCause) -> u64 {
        self.counts.drops().filter(|(kind, _)| kind.cause() == cause).map(|(_, drops)| drops).sum()
    }

    /// Returns the resets of one cause.
    #[must_use]
    pub fn resets(&self, cause: ResetCause) -> u64 {
        self.counts.resets().find(|(of, _)| *of == cause).map_or(0, |(_, resets)| resets)
    }

    /// Returns the resets of one cause that have nothing to do with the end of the server.
    #[must_use]
    pub fn resets_while_serving(&self, cause: ResetCause) -> u64 {
        self.resets(cause) - self.resets_by_stop(cause)
    }

    /// Returns the resets of one cause since the server ended.
    #[must_use]
    pub fn resets_by_stop(&self, cause: ResetCause) -> u64 {
        let since = self.stopped.as_ref().map(|stopped| &stopped.since);
        let since = since.and_then(|since| since.resets().find(|(of, _)| *of == cause));
        since.map_or(0, |(_, resets)| resets.min(self.resets(cause)))
    }

    /// Returns the clients behind this many resets of one cause.
    /// A client is an address and a port; one without an event counts as a client of its own.
    #[must_use]
    pub fn reset_clients(&self, cause: ResetCause, resets: u64) -> u64 {
        let repeated = self.repeated_resets.iter().find(|(of, _)| *of == cause).map_or(0, |(_, more)| *more);
        resets.saturating_sub(repeated).max(resets.min(1))
    }

    /// Returns the account's share of a kernel counter.
    #[must_use]
    pub const fn kernel(&self, counter: KernelCounter) -> u64 {
        self.counts.kernel().get(counter)
    }

    /// Returns the clients that the full accept queue refused, or its drops if clients are unknown.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let counted = self.counterfactual.as_ref().map(|answer| answer.refused);
        counted.unwrap_or_else(|| self.drops_by(DropCause::AcceptQueueFull))
    }

    /// Returns the name of the process that listens.
    #[must_use]
    pub fn software(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| &*owner.name)
    }

    /// Returns the port, if the subject has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.subject.account().and_then(|key| key.port())
    }
}

impl Visibility {
    /// Returns whether netqueue may have missed something.
    #[must_use]
    pub const fn is_impaired(&self) -> bool {
        !self.unattached.is_empty()
            || !self.obstacles.is_empty()
            || self.missed + self.lost_charges + self.residual > 0
    }
}
