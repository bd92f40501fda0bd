//! Sudden rises of drops, told from what a listener always does: when they began, how bad they got, whom they met.

mod baseline;
mod detector;
mod peers;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use detector::SpikeDetector;
pub use peers::PeerCount;

use super::{AccountKey, DropCause, Netns, Timestamp};

/// What a spike is a spike of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpikeScope {
    /// Drops of one account, of one cause.
    Account(AccountKey, DropCause),
    /// All drops of a network namespace.
    Namespace(Netns),
}

impl SpikeScope {
    /// `listener` or `namespace`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Account(..) => "listener",
            Self::Namespace(_) => "namespace",
        }
    }

    /// The cause's label value; a namespace's spike has them all.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Account(_, cause) => cause.as_str(),
            Self::Namespace(_) => "any",
        }
    }

    /// Where.
    #[must_use]
    pub const fn netns(&self) -> Netns {
        match self {
            Self::Account(key, _) => key.netns(),
            Self::Namespace(netns) => *netns,
        }
    }
}

/// A sudden rise of drops, under way or over.
#[derive(Clone, Debug, PartialEq)]
pub struct Spike {
    /// Its number while the daemon runs, from 1.
    pub id: u64,
    /// Of what.
    pub scope: SpikeScope,
    /// When the first of its drops happened: the event's time where there is one, else when the counts were last read
    /// without it.
    pub started: Timestamp,
    /// When it was told from what is ordinary.
    pub detected: Timestamp,
    /// When the counts last moved.
    pub last_drop: Timestamp,
    /// When it was seen to be over; its drops ended at `last_drop`. `None` while it goes on.
    pub ended: Option<Timestamp>,
    /// Drops since `started`, packets as the kernel counts them.
    pub drops: u64,
    /// Most drops within one second.
    pub peak_per_second: u64,
    /// Drops per second that are ordinary here, as learned before.
    pub baseline_per_second: f64,
    /// Whom it met.
    pub peers: PeerCount,
}

impl Spike {
    /// Whether it goes on.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    /// From its first to its last drop.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.last_drop.since(self.started)
    }
}

/// What the outside should be told.
#[derive(Clone, Debug, PartialEq)]
pub enum SpikeNotice {
    /// A spike was told from what is ordinary.
    Started(Spike),
    /// A spike is over.
    Ended(Spike),
}

impl SpikeNotice {
    /// The spike.
    #[must_use]
    pub const fn spike(&self) -> &Spike {
        match self {
            Self::Started(spike) | Self::Ended(spike) => spike,
        }
    }
}

/// What is sudden.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// Over how long drops are added up before they are compared.
    pub window: Duration,
    /// Fewer drops within the window are never a spike.
    pub floor: u64,
    /// Fewer than this many times what is ordinary are none.
    pub factor: f64,
    /// Fewer than this many standard deviations above what is ordinary are none.
    pub deviations: f64,
    /// How long it must be calm before a spike is over. Clients repeat their SYN after 1, 2, 4 and 8 s: a shorter calm is
    /// the pause between two of their attempts.
    pub calm: Duration,
    /// How long a scope is watched before anything of it can be sudden.
    pub warm_up: Duration,
    /// How long what is ordinary is remembered.
    pub memory: Duration,
    /// Counts that were read further apart than this tell no rate.
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
