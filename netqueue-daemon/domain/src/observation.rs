//! Everything netqueue observes, as values: what is told to the aggregator is all there is to know, so that a recording of
//! it, told to another aggregator at another time, gives the same picture.
//!
//! To add an observation: a variant here, its arm in [`Aggregator::apply`](super::Aggregator::apply), its part of
//! [`Standing`] where it leaves a state behind. New members of what is there get `#[serde(default)]`, so that older
//! recordings stay readable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, AccountView, Baseline, Bracket, Changes, Counts, Event, Health, IdleLimit,
    NamespaceNews, Netns, QueuePeaks, SearchCost, SocketInode, Timestamp, TrafficReading, WallClock,
    namespaces::Entry,
};

/// Something observed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// The whole state at the beginning of a recording, or after a gap in it.
    Standing(Box<Standing>),
    /// Events, in the order they were drained.
    Events(Vec<Event>),
    /// Which sockets accounts are that were not known yet.
    Sockets(Vec<(AccountKey, SocketInode)>),
    /// What a look at the system's listeners found to be different.
    Listeners(Changes),
    /// The exact counts of accounts that have moved since they were last read: of each of their slots.
    Counts(Vec<(AccountKey, Counts)>),
    /// Slots that were given back with these counts: no later reading has them.
    Settled(Vec<(AccountKey, Counts)>),
    /// Listeners that were closed.
    Closed(Vec<(AccountKey, Timestamp)>),
    /// What went through listeners, of those where it has moved or their queues have.
    Traffic(Vec<(AccountKey, TrafficReading)>),
    /// The metrics page was made: what was known is known outside, and peaks since the last scrape begin anew.
    Scraped,
    /// The state from which a namespace's counters are compared.
    Baseline(Netns, Bracket),
    /// A namespace's counters beside what was attributed to it.
    Compared(Netns, Bracket),
    /// Which namespaces there are and were.
    Namespaces(NamespaceNews),
    /// What netqueue knows of itself.
    Health(Health),
    /// The wall clock was stepped.
    WallClock(WallClock),
}

/// What was known at one moment, as far as it does not repeat itself in later observations.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Every account, in the order of first charge.
    pub accounts: Vec<Arc<AccountView>>,
    /// The accounts of living listeners by their sockets: places in the list of accounts.
    pub sockets: Vec<(SocketInode, usize)>,
    /// Listeners that were found before anything was charged to them.
    pub found: u64,
    /// What slots had counted that were given back.
    pub settled: Vec<(AccountKey, Counts)>,
    /// How long their queues were at their longest.
    pub peaks: Vec<(AccountId, QueuePeaks)>,
    /// How many events were ever appended: the next one's number is one more.
    pub events: u64,
    /// Every namespace that is known.
    pub namespaces: Vec<Entry>,
    /// From where each is compared.
    pub baselines: Vec<(Netns, Baseline)>,
    /// What looking for them cost.
    pub search: SearchCost,
    /// What netqueue knew of itself.
    #[serde(default = "Health::untold")]
    pub health: Health,
    /// The idle time-outs that were inferred, by namespace and port.
    pub idle_limits: Vec<(Netns, u16, IdleLimit)>,
    /// The wall clock as it was set.
    pub wall_clock: WallClock,
}

/// An observation and when it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observed {
    /// When netqueue learnt of it.
    pub time: Timestamp,
    /// What it learnt.
    pub what: Observation,
}
