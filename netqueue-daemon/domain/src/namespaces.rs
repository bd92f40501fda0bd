//! Which network namespaces there are and were, how they are called, and how far each is compared.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{NamespaceBalance, Netns, PerCounter, Timestamp, gone};

/// What a namespace had counted when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// Which one.
    pub netns: Netns,
    /// The kernel's counters, absolute.
    pub kernel: PerCounter<u64>,
}

/// What looking for namespaces took so far, and the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchCost {
    /// How often.
    pub searches: u64,
    /// The time all of them took.
    pub spent: Duration,
    /// Processes looked at the last time.
    pub processes: u64,
    /// Threads looked at besides.
    pub threads: u64,
    /// Processes and threads that may not be looked at.
    pub denied: u64,
}

/// One namespace at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceView {
    /// Which one.
    pub netns: Netns,
    /// How it is called: `host`, its name, its container, or its inode number and generation.
    pub name: Arc<str>,
    /// Since when it is known.
    pub known: Timestamp,
    /// When it was seen that it has ended.
    pub ended: Option<Timestamp>,
    /// The last comparison of its counters.
    pub balance: Option<NamespaceBalance>,
    /// Why it was never compared, where it was not.
    pub why_not: Option<Arc<str>>,
    /// What was attributed to it since that comparison.
    pub charged_since: PerCounter<u64>,
}

/// What was learnt of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceNews {
    /// These were found, under these names where they have one.
    pub found: Vec<(Netns, Option<Arc<str>>)>,
    /// These told at their end what they had counted; and what had been attributed to each by then.
    pub farewells: Vec<(Farewell, PerCounter<u64>)>,
    /// These have ended.
    pub ended: Vec<Netns>,
    /// These cannot be compared at present, and why.
    pub not_compared: Vec<(Netns, Arc<str>)>,
    /// What looking for them cost.
    pub search: Option<SearchCost>,
}

impl NamespaceNews {
    /// Whether nothing was learnt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All namespaces that something was found in or charged to.
#[derive(Debug)]
pub(super) struct Namespaces {
    host: Netns,
    /// Whether that one is the host's, to be called so.
    sees_host: bool,
    entries: BTreeMap<Netns, Entry>,
}

/// One that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    view: NamespaceView,
    /// How many scrapes have shown it since it ended.
    #[serde(default)]
    shown: u8,
    /// It stands for others, too.
    #[serde(default)]
    joined: bool,
}

/// So many that ended are kept, whether or not they were shown.
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

    /// Something was charged to it, or it was found.
    pub(super) fn know(&mut self, netns: Netns, now: Timestamp) {
        self.entry(netns, now);
    }

    /// It was found, under this name if it has one.
    pub(super) fn found(&mut self, netns: Netns, name: Option<Arc<str>>, now: Timestamp) {
        self.know(netns, now);
        let name = self.label(netns, name);
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.view.name = name;
        }
    }

    /// Whether something was found in it or charged to it.
    pub(super) fn knows(&self, netns: Netns) -> bool {
        self.entries.contains_key(&netns)
    }

    /// How it is called.
    pub(super) fn name(&self, netns: Netns) -> Arc<str> {
        self.entries.get(&netns).map_or_else(|| self.label(netns, None), |entry| Arc::clone(&entry.view.name))
    }

    /// It was compared.
    pub(super) fn compared(&mut self, balance: NamespaceBalance) {
        if let Some(entry) = self.entries.get_mut(&balance.netns) {
            entry.view.why_not = None;
            entry.view.balance = Some(balance);
        }
    }

    /// It cannot be compared at present.
    pub(super) fn not_compared(&mut self, netns: Netns, why: &str) {
        if let Some(entry) = self.entries.get_mut(&netns)
            && entry.view.why_not.as_deref() != Some(why)
        {
            entry.view.why_not = Some(why.into());
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, netns: Netns, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.view.ended.get_or_insert(now);
        }
    }

    /// Those that may end.
    pub(super) fn living(&self) -> impl Iterator<Item = Netns> + '_ {
        let living = self.entries.values().map(|entry| &entry.view).filter(|view| view.ended.is_none());
        living.map(|view| view.netns).filter(|netns| *netns != Netns::GONE && *netns != self.host)
    }

    /// Its last comparison.
    pub(super) fn balance(&self, netns: Netns) -> Option<&NamespaceBalance> {
        self.entries.get(&netns)?.view.balance.as_ref()
    }

    /// Why it is not compared.
    pub(super) fn why_not(&self, netns: Netns) -> Option<&str> {
        self.entries.get(&netns)?.view.why_not.as_deref()
    }

    /// All that is known, for [`Self::restore`].
    pub(super) fn standing(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }

    /// Knows what was known elsewhere.
    pub(super) fn restore(&mut self, standing: Vec<Entry>) {
        self.entries = standing.into_iter().map(|entry| (entry.view.netns, entry)).collect();
    }

    /// Whether it is known to have ended.
    pub(super) fn has_ended(&self, netns: Netns) -> bool {
        self.entries.get(&netns).is_some_and(|entry| entry.view.ended.is_some())
    }

    /// Something of another namespace was added to it.
    pub(super) fn join(&mut self, netns: Netns) {
        if let Some(entry) = self.entries.get_mut(&netns) {
            entry.joined = true;
        }
    }

    /// Whether it stands for others, too.
    pub(super) fn is_joined(&self, netns: Netns) -> bool {
        self.entries.get(&netns).is_some_and(|entry| entry.joined)
    }

    /// The metrics page was made from the last snapshot.
    pub(super) fn scraped(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.view.ended.is_some()) {
            entry.shown = entry.shown.saturating_add(1);
        }
    }

    /// Takes out those that ended at least `time` ago and were shown often enough, or are too many, and in which nobody is
    /// `busy`: who has counts of his own. Their balances are added to another's: each is returned with that.
    ///
    /// While there is another of the same name, its series are theirs, too, and must not fall: they join the eldest that
    /// ended. Else all of that name go to [`Netns::GONE`].
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
        let shown = |at, entry: &Entry| entry.shown >= gone::SCRAPES && now.since(at) >= time;
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

    /// Everything known; `charged` says what is attributed to each.
    pub(super) fn views(&self, charged: &BTreeMap<Netns, PerCounter<u64>>) -> BTreeMap<Netns, NamespaceView> {
        let view = |entry: &Entry| {
            let mut view = entry.view.clone();
            let charged = charged.get(&view.netns).copied().unwrap_or_default();
            let compared = view.balance.map(|balance| balance.charged).unwrap_or_default();
            // After the last comparison nothing is charged any more, but it may stand for others that ended.
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
