//! Network namespaces past and present: their names, their ends and their comparisons.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{NamespaceBalance, Netns, PerCounter, Timestamp};

/// Number of scrapes after which the last counts have been seen.
///
/// One scrape may have been under way when the account or namespace ended, or lost.
pub(super) const SCRAPES: u8 = 2;

/// Final counters of a namespace that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsFinal {
    /// Namespace that ended.
    pub netns: Netns,
    /// Kernel counters at the end, absolute.
    pub kernel: PerCounter<u64>,
}

/// Cost of the search for namespaces, in all and of the last pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchCost {
    /// Number of passes.
    pub searches: u64,
    /// Total duration of all passes.
    pub spent: Duration,
    /// Processes read in the last pass.
    pub processes: u64,
    /// Threads read in the last pass, besides the processes.
    pub threads: u64,
    /// Processes and threads that netqueue is not permitted to read.
    pub denied: u64,
}

/// State of one namespace at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceView {
    /// Inode number and generation.
    pub netns: Netns,
    /// Name: `host`, the namespace's own, its container's, or its inode number and generation.
    pub name: Arc<str>,
    /// Time at which it was first found or charged.
    pub known: Timestamp,
    /// Time at which its end was noticed.
    pub ended: Option<Timestamp>,
    /// Last comparison of its counters.
    pub balance: Option<NamespaceBalance>,
    /// Reason why it is not compared, if it is not.
    pub why_not: Option<Arc<str>>,
    /// Charges attributed to it since the last comparison.
    pub charged_since: PerCounter<u64>,
}

/// News about namespaces: found, ended, or not comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceNews {
    /// Namespaces that were found, with their names if they have one.
    pub found: Vec<(Netns, Option<Arc<str>>)>,
    /// Final counters of namespaces that ended, each with what had been attributed to it by then.
    pub finals: Vec<(NetnsFinal, PerCounter<u64>)>,
    /// Namespaces that have ended.
    pub ended: Vec<Netns>,
    /// Namespaces that cannot be compared at present, with the reason.
    pub not_compared: Vec<(Netns, Arc<str>)>,
    /// Cost of the search for namespaces, after a pass.
    pub search: Option<SearchCost>,
}

impl NamespaceNews {
    /// Returns whether there is no news.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All namespaces that something was found in or charged to.
#[derive(Debug)]
pub(super) struct Namespaces {
    host: Netns,
    /// True if `host` is the host's namespace, which is then called so.
    sees_host: bool,
    entries: BTreeMap<Netns, Entry>,
}

/// One namespace, with the state of its retention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    view: NamespaceView,
    /// Number of scrapes that have shown the namespace since it ended.
    #[serde(default)]
    shown: u8,
    /// True if other namespaces were merged into this one.
    #[serde(default)]
    joined: bool,
}

/// Maximum number of ended namespaces that are kept, whether or not they were scraped.
const MOST: usize = 512;

const UNTOLD_END: &str = "it ended before it was found, and what it had counted was not told";
const NOT_FOUND: &str =
    "it was not found: no process or thread that may be looked at is in it, and no file is bound to it";

impl Namespaces {
    pub(super) fn new(host: Netns, sees_host: bool, now: Timestamp) -> Self {
        let mut namespaces = Self { host, sees_host, entries: BTreeMap::new() };
        namespaces.entry(host, now);
        namespaces
    }

    /// Adds a namespace that something was charged to, or that was found.
    pub(super) fn know(&mut self, netns: Netns, now: Timestamp) {
        self.entry(netns, now);
    }

    /// Records that a namespace was found, under this name if it has one.
    pub(super) fn found(&mut self, netns: Netns, name: Option<Arc<str>>, now: Timestamp) {
        self.know(netns, now);
        let name = self.label(netns, name);
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.view.name = name;
        }
    }

    /// Returns whether something was found in the namespace or charged to it.
    pub(super) fn knows(&self, netns: Netns) -> bool {
        self.entries.contains_key(&netns)
    }

    /// Returns the name of the namespace.
    pub(super) fn name(&self, netns: Netns) -> Arc<str> {
        self.entries.get(&netns).map_or_else(|| self.label(netns, None), |entry| Arc::clone(&entry.view.name))
    }

    /// Stores a comparison of a namespace.
    pub(super) fn compared(&mut self, balance: NamespaceBalance) {
        if let Some(entry) = self.entries.get_mut(&balance.netns) {
            entry.view.why_not = None;
            entry.view.balance = Some(balance);
        }
    }

    /// Stores the reason why a namespace cannot be compared at present.
    pub(super) fn not_compared(&mut self, netns: Netns, why: &str) {
        if let Some(entry) = self.entries.get_mut(&netns)
            && entry.view.why_not.as_deref() != Some(why)
        {
            entry.view.why_not = Some(why.into());
        }
    }

    /// Marks a namespace as ended.
    pub(super) fn end(&mut self, netns: Netns, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.view.ended.get_or_insert(now);
        }
    }

    /// Iterates over the namespaces that may still end.
    pub(super) fn living(&self) -> impl Iterator<Item = Netns> + '_ {
        let living = self.entries.values().map(|entry| &entry.view).filter(|view| view.ended.is_none());
        living.map(|view| view.netns).filter(|netns| *netns != Netns::GONE && *netns != self.host)
    }

    /// Returns the last comparison of the namespace.
    pub(super) fn balance(&self, netns: Netns) -> Option<&NamespaceBalance> {
        self.entries.get(&netns)?.view.balance.as_ref()
    }

    /// Returns the reason why the namespace is not compared.
    pub(super) fn why_not(&self, netns: Netns) -> Option<&str> {
        self.entries.get(&netns)?.view.why_not.as_deref()
    }

    /// Exports all namespaces, for [`Self::restore`].
    pub(super) fn checkpoint(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }

    /// Replaces all namespaces by exported ones.
    pub(super) fn restore(&mut self, checkpoint: Vec<Entry>) {
        self.entries = checkpoint.into_iter().map(|entry| (entry.view.netns, entry)).collect();
    }

    /// Returns whether the namespace's end was noticed.
    pub(super) fn has_ended(&self, netns: Netns) -> bool {
        self.entries.get(&netns).is_some_and(|entry| entry.view.ended.is_some())
    }

    /// Marks a namespace into which another one was merged.
    pub(super) fn join(&mut self, netns: Netns) {
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.joined = true;
        }
    }

    /// Returns whether other namespaces were merged into this one.
    pub(super) fn is_joined(&self, netns: Netns) -> bool {
        self.entries.get(&netns).is_some_and(|entry| entry.joined)
    }

    /// Counts a scrape of the last snapshot for all namespaces that have ended.
    pub(super) fn scraped(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.view.ended.is_some()) {
            entry.shown = entry.shown.saturating_add(1);
        }
    }

    /// Removes namespaces that ended at least `time` ago and were scraped often enough, or are too many.
    /// Spares those that are `busy`, with counts of their own. Adds each one's balance to another namespace,
    /// and returns that one with it.
    ///
    /// While another namespace of the same name is left, both have the same series, which must not fall: the
    /// removed namespace merges into the first of that name that ended. Otherwise all of that name merge into
    /// [`Netns::GONE`].
    pub(super) fn fold(
        &mut self,
        busy: impl FnOnce() -> HashSet<Netns>,
        time: Duration,
        now: Timestamp,
    ) -> BTreeMap<Netns, Netns> {
        let ended = self.entries.values().filter_map(|entry| Some((entry.view.ended?, entry)));
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by_key(|(at, entry)| (*at, entry.view.netns));
        let surplus = ended.len().saturating_sub(MOST);
        let shown = |at, entry: &Entry| entry.shown >= SCRAPES && now.since(at) >= time;
        let ripe =
            ended.iter().enumerate().filter(|(index, (at, entry))| *index < surplus || shown(*at, entry));
        let mut ripe: HashSet<Netns> = ripe.map(|(_, (_, entry))| entry.view.netns).collect();
        if ripe.is_empty() {
            return BTreeMap::new();
        }
        let busy = busy();
        ripe.retain(|netns| !busy.contains(netns));
        let stay = self.entries.values().filter(|entry| !ripe.contains(&entry.view.netns));
        let names: HashSet<_> = stay.map(|entry| &entry.view.name).collect();
        let mut eldest = HashMap::new();
        for (_, entry) in &ended {
            eldest.entry(&entry.view.name).or_insert(entry.view.netns);
        }
        let goes = |netns: &Netns| {
            let name = &self.entries.get(netns)?.view.name;
            let to = if names.contains(name) { *eldest.get(name)? } else { Netns::GONE };
            (to != *netns).then_some((*netns, to))
        };
        let folded: BTreeMap<_, _> = ripe.iter().filter_map(goes).collect();
        for (netns, to) in &folded {
            let balance = self.entries.remove(netns).and_then(|entry| entry.view.balance);
            let into = &mut self.entry(*to, now).view;
            if let Some(balance) = balance {
                let balance = NamespaceBalance { netns: *to, ..balance };
                into.balance = Some(into.balance.map_or(balance, |before| before.and(&balance)));
            }
        }
        folded
    }

    /// Returns the state of all namespaces; `charged` is what is attributed to each.
    pub(super) fn views(&self, charged: &BTreeMap<Netns, PerCounter<u64>>) -> BTreeMap<Netns, NamespaceView> {
        let view = |entry: &Entry| {
            let mut view = entry.view.clone();
            let charged = charged.get(&view.netns).copied().unwrap_or_default();
            let compared = view.balance.map(|balance| balance.charged).unwrap_or_default();
            // After its last comparison nothing is charged to the namespace itself: the rest comes from
            // merged ones.
            if !view.balance.is_some_and(|balance| balance.last) {
                view.charged_since =
                    PerCounter::from_fn(|counter| charged.get(counter).saturating_sub(compared.get(counter)));
            }
            if view.balance.is_none() && view.why_not.is_none() {
                let over = view.ended.is_some() || view.netns == Netns::GONE;
                view.why_not = Some(if over { UNTOLD_END } else { NOT_FOUND }.into());
            }
            (view.netns, view)
        };
        self.entries.values().map(view).collect()
    }

    fn entry(&mut self, netns: Netns, now: Timestamp) -> &mut Entry {
        let name = self.label(netns, None);
        self.entries.entry(netns).or_insert_with(|| Entry {
            view: NamespaceView {
                netns,
                name,
                known: now,
                ended: None,
                balance: None,
                why_not: None,
                charged_since: PerCounter::default(),
            },
            shown: 0,
            joined: false,
        })
    }

    fn label(&self, netns: Netns, name: Option<Arc<str>>) -> Arc<str> {
        match name {
            _ if netns == Netns::GONE => "gone".into(),
            _ if netns == self.host && self.sees_host => "host".into(),
            Some(name) => name,
            None => netns.to_string().into(),
        }
    }
}

#[cfg(test)]
#[path = "namespaces_tests.rs"]
mod tests;
