//! What rules judge: everything known of one account in a window of time, as plain numbers. What is not known is `None`.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use crate::{Counts, DropCause, DropKind, IdleLimit, KernelCounter, Obstacle, ResetCause, Timestamp};

use super::{
    Subject,
    counterfactual::{Counterfactual, Flow},
};

/// One account in a window.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Whose.
    pub subject: Subject,
    /// From and to.
    pub window: (Timestamp, Timestamp),
    /// What it was charged in the window.
    pub counts: Counts,
    /// What went through the accept queue between the first and the last drop of the window.
    pub flow: Option<Flow>,
    /// The longest the accept queue is known to have been.
    pub accept_peak: Option<u32>,
    /// Connections waiting for accept() now.
    pub waiting: Option<u32>,
    /// Time from the first drop of the window until now, in which no accept() was seen; `None` where one was, or where
    /// accepts are not known.
    pub not_accepting_for: Option<Duration>,
    /// The 99th percentile of the time connections waited for accept(), in seconds.
    pub wait_p99: Option<f64>,
    /// The backlog in force.
    pub backlog: Option<u32>,
    /// Which term decided it.
    pub bound_by: Option<Bound>,
    /// The argument of the listen() call.
    pub listen_argument: Option<u32>,
    /// The settings of the namespace.
    pub settings: Settings,
    /// The process that listens.
    pub owner: Option<Process>,
    /// Whether the listener has been closed since.
    pub closed: bool,
    /// What would have helped against a full accept queue.
    pub counterfactual: Option<Counterfactual>,
    /// The other members of its SO_REUSEPORT group; `None` where it is alone.
    pub group: Option<Group>,
    /// Whom it met, those met most first, with the number of events.
    pub peers: Vec<(IpAddr, u64)>,
    /// Distinct clients met in resets.
    pub reset_clients: u64,
    /// How long before its reset a handshake's final ACK had been dropped: shortest and longest.
    pub ages: Option<(Duration, Duration)>,
    /// How long the server lets connections idle before it closes them.
    pub idle_limit: Option<Idle>,
    /// Ports, where the subject stands for many.
    pub ports: u64,
    /// What netqueue says of itself.
    pub sight: Sight,
}

/// How long a server lets connections idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// As its closing of connections shows.
    Seen(IdleLimit),
    /// As its software does unless told otherwise.
    Default(Duration),
}

/// Which term decides the backlog in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The listen() call.
    ListenArgument,
    /// net.core.somaxconn.
    Somaxconn,
    /// net.core.somaxconn as it was when the listener was opened; it has been raised since.
    EarlierSomaxconn,
}

/// The sysctls of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
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

/// The process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its short name.
    pub name: Arc<str>,
    /// Its number.
    pub pid: u32,
    /// Its systemd unit.
    pub unit: Option<Arc<str>>,
}

/// The other members of a SO_REUSEPORT group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub others: u32,
    /// Of these: those that are well: they dropped less than a tenth of what this one did, and accept, as far as is known.
    pub well: u32,
    /// What all others dropped in the window.
    pub drops: u64,
    /// Whether accepts are known.
    pub accepts_known: bool,
}

/// How well netqueue sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Programs that are not attached and should be.
    pub unattached: Vec<Cow<'static, str>>,
    /// Runs the kernel skipped.
    pub missed: u64,
    /// Charges that may be missing.
    pub lost_charges: u64,
    /// The sum of the residuals, without signs.
    pub residual: u64,
    /// Conditions of the machine that hide charges.
    pub obstacles: Vec<Obstacle>,
}

impl Evidence {
    /// An account of which nothing else is known.
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
            settings: Settings::default(),
            owner: None,
            closed: false,
            counterfactual: None,
            group: None,
            peers: Vec::new(),
            reset_clients: 0,
            ages: None,
            idle_limit: None,
            ports: 1,
            sight: Sight::default(),
        }
    }

    /// Drops of one kind.
    #[must_use]
    pub fn drops(&self, kind: DropKind) -> u64 {
        self.counts.drops().find(|(of, _)| *of == kind).map_or(0, |(_, drops)| drops)
    }

    /// Drops of one cause, at whatever stage.
    #[must_use]
    pub fn drops_by(&self, cause: DropCause) -> u64 {
        self.counts.drops().filter(|(kind, _)| kind.cause() == cause).map(|(_, drops)| drops).sum()
    }

    /// Resets of one cause.
    #[must_use]
    pub fn resets(&self, cause: ResetCause) -> u64 {
        self.counts.resets().find(|(of, _)| *of == cause).map_or(0, |(_, resets)| resets)
    }

    /// The account's part of a kernel counter.
    #[must_use]
    pub const fn kernel(&self, counter: KernelCounter) -> u64 {
        self.counts.kernel().get(counter)
    }

    /// Clients the full accept queue refused, each once; packets where clients cannot be told apart.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let counted = self.counterfactual.as_ref().map(|answer| answer.refused);
        counted.unwrap_or_else(|| self.drops_by(DropCause::AcceptQueueFull))
    }

    /// The name of the software that listens.
    #[must_use]
    pub fn software(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| &*owner.name)
    }

    /// The port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.subject.account().and_then(|key| key.port())
    }
}

impl Sight {
    /// Whether something may have been missed.
    #[must_use]
    pub const fn is_impaired(&self) -> bool {
        !self.unattached.is_empty()
            || !self.obstacles.is_empty()
            || self.missed + self.lost_charges + self.residual > 0
    }
}
