//! Observations: everything that netqueue observes, as values. The aggregator has no other input, so
//! that a recording of them, replayed to another aggregator at another time, gives the same snapshot.
//!
//! To add an observation: a variant here, its arm in [`Aggregator::apply`](super::Aggregator::apply), its
//! part of [`Checkpoint`] if it leaves a state behind. New members of existing types get `#[serde(default)]`,
//! so that older recordings stay readable.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AccountKey, AccountView, Baseline, BesideCounter, BesideEntry, Bracket, Changes, Counts,
    Event, Health, IdleLimit, NamespaceNews, Netns, QueuePeaks, SearchCost, SocketInode, Timestamp,
    TrafficReading, WallClock, namespaces::Entry,
};

/// One observation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// Whole state at the beginning of a recording, or after a gap in it.
    #[serde(alias = "standing")]
    Checkpoint(Box<Checkpoint>),
    /// Events, in the order in which they were drained.
    Events(Vec<Event>),
    /// Sockets of accounts that were not identified before.
    Sockets(Vec<(AccountKey, SocketInode)>),
    /// Changes that a pass over the system's listeners found.
    Listeners(Changes),
    /// Exact counts, slot by slot, of the accounts whose counts moved since the last reading.
    Counts(Vec<(AccountKey, Counts)>),
    /// Slots that were given back with these final counts; no later reading includes them.
    Settled(Vec<(AccountKey, Counts)>),
    /// Listeners that were closed.
    Closed(Vec<(AccountKey, Timestamp)>),
    /// Traffic of the listeners whose counts or queues moved since the last reading.
    Traffic(Vec<(AccountKey, TrafficReading)>),
    /// Scrape of the metrics page: ended accounts were shown, and peaks since the last scrape begin anew.
    Scraped,
    /// Counters from which a namespace is compared.
    Baseline(Netns, Bracket),
    /// Kernel counters of a namespace beside what was attributed to it.
    Compared(Netns, Bracket),
    /// Counters beside netqueue's own that rose in a namespace since they were last read, with how much.
    Beside(Netns, Vec<(BesideCounter, u64)>),
    /// News about namespaces: found, ended, or not comparable.
    Namespaces(NamespaceNews),
    /// Report of netqueue on its own state.
    Health(Box<Health>),
    /// Wall clock after a step.
    WallClock(WallClock),
}

/// State at one moment, as far as later observations do not repeat it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Every account, in the order in which they were first found or charged.
    pub accounts: Vec<Arc<AccountView>>,
    /// Accounts of living listeners, by socket: indices into the list of accounts.
    pub sockets: Vec<(SocketInode, usize)>,
    /// Number of listeners that were found before anything was charged to them.
    pub found: u64,
    /// Counts of slots that were given back.
    pub settled: Vec<(AccountKey, Counts)>,
    /// High-water marks of the queues, by account.
    pub peaks: Vec<(AccountId, QueuePeaks)>,
    /// Number of events appended in this run: the next one's number is one more.
    pub events: u64,
    /// Every namespace that was found or charged.
    pub namespaces: Vec<Entry>,
    /// Baselines from which the namespaces are compared.
    pub baselines: Vec<(Netns, Baseline)>,
    /// Cost of the search for namespaces.
    pub search: SearchCost,
    /// Report of netqueue on its own state.
    #[serde(default = "Health::unreported")]
    pub health: Health,
    /// Inferred idle time-outs, by namespace and port.
    pub idle_limits: Vec<(Netns, u16, IdleLimit)>,
    /// Wall clock as it was set.
    pub wall_clock: WallClock,
    /// Counters beside netqueue's own that moved in the last 15 minutes.
    #[serde(default)]
    pub beside: Vec<BesideEntry>,
}

/// An observation and its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observed {
    /// Time at which netqueue made the observation.
    pub time: Timestamp,
    /// Content of the observation.
    pub what: Observation,
}
