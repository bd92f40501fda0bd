//! Evidence for the rules: all facts about one account in a window of time, as plain numbers. Unknown
//! facts are `None`.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    Counts, DropCause, DropKind, Family, IdleLimit, KernelCounter, Obstacle, OwnerState, QueueState,
    ResetCause, TcpMemory, Timestamp, WallClock,
};

use super::{
    Subject, SysctlValues,
    accepting::{Accepting, Stall, Wait},
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
    /// Stalls and waits of the window; nothing if accepts are not counted.
    pub accepting: Accepting,
    /// First and last drop by a full queue, of the latest period in which such drops followed each other.
    pub dropped: Option<(Timestamp, Timestamp)>,
    /// Last time in the window at which anything was charged.
    pub last_charge: Option<Timestamp>,
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
    /// State of the processes that should accept, if it was examined in the window.
    pub owner_state: Option<ExaminedOwner>,
    /// True if the listener has been closed since.
    pub closed: bool,
    /// Moment of the close; `None` if it is not known.
    pub closed_at: Option<Timestamp>,
    /// Wall clock on which times are shown.
    pub clock: WallClock,
    /// Change that would have avoided the overflow of the accept queue.
    pub counterfactual: Option<Counterfactual>,
    /// Other members of the SO_REUSEPORT group; `None` if there are none or the listener is closed.
    pub group: Option<Group>,
    /// True if the listener is or was a member of an SO_REUSEPORT group.
    pub shares_port: bool,
    /// Peers in the account's events with the number of events, most frequent first.
    pub peers: Vec<(IpAddr, u64)>,
    /// For each cause of resets, events beyond the first of a client: they are no further clients.
    pub repeated_resets: Vec<(ResetCause, u64)>,
    /// Resets of unknown connections that were reset for another cause within a second.
    /// A connection's packets may meet its end on two CPUs at once.
    pub resets_of_ended_connections: u64,
    /// Shortest and longest time from the drop of a handshake's final ACK to its reset.
    pub ages: Option<(Duration, Duration)>,
    /// Idle time after which the server closes connections, inferred from those it closed.
    pub idle_limit: Option<IdleLimit>,
    /// End of the server at this address and port, if its last listener was closed in the window.
    pub stopped: Option<Stopped>,
    /// Listeners that the clients of a closed port may have meant.
    pub elsewhere: Elsewhere,
    /// Handshakes in progress and their limit, as of the newest event or reading.
    pub syn_queue: Option<QueueState>,
    /// Final ACKs that listeners with TCP_DEFER_ACCEPT ignored in the window, in the whole namespace.
    pub deferred: u64,
    /// Use of the machine's limits on TCP, if it could be read.
    pub tcp_memory: Option<TcpMemory>,
    /// Number of ports, if the subject combines many.
    pub ports: u64,
    /// Completeness of netqueue's own view.
    pub sight: Visibility,
}

/// Listeners that the clients of a closed port may have meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// None, or too many to name.
    #[default]
    Nothing,
    /// Listeners on the same port at other addresses.
    OnPort(Vec<ListenerElsewhere>),
    /// Listeners on other ports, which are all that the namespace has.
    OtherPorts(Vec<ListenerElsewhere>),
}

/// Listener that the clients of a closed port may have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerElsewhere {
    /// Process that listens.
    pub owner: Option<ListeningProcess>,
    /// Address that it listens on.
    pub addr: IpAddr,
    /// Port that it listens on.
    pub port: u16,
    /// IP versions that it takes, if known.
    pub family: Option<Family>,
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
    /// Number of listeners that were closed there in the window: a server may end again and again.
    pub times: u64,
    /// SYNs refused there since the first of them was closed.
    pub refused: u64,
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
    /// A listen() call that was not seen: its argument, or net.core.somaxconn as it was then.
    Unseen,
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

/// State of the processes that should accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedOwner {
    /// State as it was found.
    pub state: Arc<OwnerState>,
    /// True if it was found a moment ago and connections still wait.
    pub ongoing: bool,
    /// Wall clock on which times are shown.
    pub wall_clock: WallClock,
}

impl ExaminedOwner {
    /// Formats a time as the wall clock shows it, in UTC to the second.
    pub(super) fn time(&self, at: Timestamp) -> String {
        let shown = self.wall_clock.rfc3339(at);
        shown.get(11..19).map_or_else(|| shown.clone(), |time| format!("{time} UTC"))
    }
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
    /// Time after the last charge for which an incident is taken to go on: clients try again for as long.
    const RECENT: Duration = Duration::from_secs(60);
    /// Time that it takes to tell a burst from an overload, and a pause from a stall.
    pub const EARLY: Duration = Duration::from_secs(15);
    /// Time after its last drop for which an overflow may still belong to a stall that is over.
    const AFTERMATH: Duration = Duration::from_secs(5);

    /// Returns whether clients wait or are turned away at the end of the window; nobody is after the close.
    /// Tense and rank of a verdict follow.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        if self.closed {
            return false;
        }
        let waits = self.accepting.waits.is_some_and(|wait| wait.oldest >= Wait::LONG);
        if self.accepting.stalled.is_some() || waits || self.counts.handshakes().live_ghosts() > 0 {
            return true;
        }
        self.is_recent() && self.past_stall().is_none()
    }

    /// Returns whether anything was charged lately.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        let recent = self.last_charge.is_none_or(|last| self.window.1.since(last) < Self::RECENT);
        recent && self.counts != Counts::default()
    }

    /// Returns the time since the overflow began, if that is too short to judge it.
    #[must_use]
    pub fn early(&self) -> Option<Duration> {
        let (from, _) = self.dropped?;
        let age = self.window.1.since(from);
        (!self.closed && age < Self::EARLY).then_some(age)
    }

    /// Returns whether a full queue dropped something lately.
    #[must_use]
    pub fn is_dropping(&self) -> bool {
        self.dropped.is_some_and(|(_, last)| self.window.1.since(last) < Self::RECENT)
    }

    /// Returns the stall to which the drops by a full accept queue belong, if it is over.
    #[must_use]
    pub fn past_stall(&self) -> Option<Stall> {
        let stall = self.accepting.longest_stall.filter(|_| self.accepting.stalled.is_none())?;
        let within = |(_, last): &(Timestamp, Timestamp)| {
            *last >= stall.since && *last <= stall.until.after(Self::AFTERMATH)
        };
        self.dropped.as_ref().is_some_and(within).then_some(stall)
    }

    /// Returns the stall to which the drops by a full accept queue belong, if it goes on.
    #[must_use]
    pub fn present_stall(&self) -> Option<Stall> {
        let stall = self.accepting.stalled?;
        let drops = |(_, last): &(Timestamp, Timestamp)| last.after(Self::AFTERMATH) >= stall.since;
        self.dropped.as_ref().is_some_and(drops).then_some(stall)
    }

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
            accepting: Accepting::default(),
            dropped: None,
            last_charge: None,
            wait_p99: None,
            backlog: None,
            bound_by: None,
            listen_argument: None,
            settings: SysctlValues::default(),
            owner: None,
            owner_state: None,
            closed: false,
            closed_at: None,
            clock: WallClock::default(),
            counterfactual: None,
            group: None,
            peers: Vec::new(),
            repeated_resets: Vec::new(),
            ages: None,
            idle_limit: None,
            stopped: None,
            elsewhere: Elsewhere::Nothing,
            syn_queue: None,
            deferred: 0,
            shares_port: false,
            resets_of_ended_connections: 0,
            tcp_memory: None,
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

    /// Returns the resets of one cause since the server ended; of refused SYNs, since it first ended.
    #[must_use]
    pub fn resets_by_stop(&self, cause: ResetCause) -> u64 {
        let Some(Stopped { since, refused, .. }) = &self.stopped else { return 0 };
        let counted = || since.resets().find(|(of, _)| *of == cause).map_or(0, |(_, resets)| resets);
        let resets = if cause == ResetCause::NoListener { *refused } else { counted() };
        resets.min(self.resets(cause))
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

    /// Returns the address of the subject, if it has one.
    #[must_use]
    pub fn addr(&self) -> Option<IpAddr> {
        self.subject.account().and_then(|key| key.addr())
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
