//! Spikes: sudden rises of drops above the ordinary, with their start, size and peers.

mod baseline;
mod detector;
mod peers;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use detector::SpikeDetector;
pub use peers::PeerCount;

use super::{AccountKey, DropCause, Netns, Timestamp};

/// Scope of a spike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpikeScope {
    /// Drops of one account, of one cause.
    Account(AccountKey, DropCause),
    /// All drops of a network namespace.
    Namespace(Netns),
}

impl SpikeScope {
    /// Returns `listener` or `namespace`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Account(..) => "listener",
            Self::Namespace(_) => "namespace",
        }
    }

    /// Returns the cause's label value, `any` for a namespace.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Account(_, cause) => cause.as_str(),
            Self::Namespace(_) => "any",
        }
    }

    /// Returns the namespace.
    #[must_use]
    pub const fn netns(&self) -> Netns {
        match self {
            Self::Account(key, _) => key.netns(),
            Self::Namespace(netns) => *netns,
        }
    }
}

/// Sudden rise of drops, under way or over.
#[derive(Clone, Debug, PartialEq)]
pub struct Spike {
    /// Number of the spike while the daemon runs, from 1.
    pub id: u64,
    /// Scope of the spike.
    pub scope: SpikeScope,
    /// Time of the first drop, from its event if there is one. Without an event, time of the last reading
    /// of the counts before it.
    pub started: Timestamp,
    /// Time at which the spike was detected.
    pub detected: Timestamp,
    /// Time at which the counts last moved.
    pub last_drop: Timestamp,
    /// Time at which the spike was found to be over, some time after `last_drop`; `None` while it goes on.
    pub ended: Option<Timestamp>,
    /// Drops since `started`: packets, as the kernel counts them.
    pub drops: u64,
    /// Maximum number of drops within one second.
    pub peak_per_second: u64,
    /// Ordinary number of drops per second, as learned before.
    pub baseline_per_second: f64,
    /// Clients whose packets were dropped.
    pub peers: PeerCount,
}

impl Spike {
    /// Returns whether the spike goes on.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// Returns the time from the first to the last drop.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.last_drop.since(self.started)
    }
}

/// Notice of a spike's start or end.
#[derive(Clone, Debug, PartialEq)]
pub enum SpikeNotice {
    /// Start: a spike was detected.
    Started(Spike),
    /// End: a spike is over.
    Ended(Spike),
}

impl SpikeNotice {
    /// Returns the spike.
    #[must_use]
    pub const fn spike(&self) -> &Spike {
        match self {
            Self::Started(spike) | Self::Ended(spike) => spike,
        }
    }
}

/// Parameters of spike detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// Time over which drops are added up before they are compared.
    pub window: Duration,
    /// Minimum number of drops in the window for a spike.
    pub floor: u64,
    /// Minimum ratio of the drops to the ordinary ones for a spike.
    pub factor: f64,
    /// Minimum number of standard deviations above the ordinary for a spike.
    pub deviations: f64,
    /// Time of calm after which a spike is over. Clients repeat their SYN after 1, 2, 4 and 8 s: a shorter
    /// calm is the pause between two of their attempts.
    pub calm: Duration,
    /// Time for which a scope is watched before anything in it can be sudden.
    pub warm_up: Duration,
    /// Time for which the ordinary level is remembered.
    pub memory: Duration,
    /// Maximum time between two readings that give a rate.
    pub longest_step: Duration,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(5),
            floor: 10,
            factor: 4.0,
            deviations: 8.0,
            calm: Duration::from_secs(20),
            warm_up: Duration::from_secs(10),
            memory: Duration::from_secs(600),
            longest_step: Duration::from_secs(5),
        }
    }
}
