//! Which network namespaces there are and were, how they are called, and how far each is compared.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{NamespaceBalance, Netns, PerCounter, Timestamp};

/// What a namespace had counted when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Which one.
    pub netns: Netns,
    /// The kernel's counters, absolute.
    pub kernel: PerCounter<u64>,
}

/// What looking for namespaces took so far, and the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// All namespaces that something was found in or charged to.
#[derive(Debug)]
pub(super) struct Namespaces {
    host: Netns,
    entries: BTreeMap<Netns, Entry>,
    /// Those folded, whose accounts the kernel side may still hold.
    folded: HashSet<Netns>,
}

#[derive(Debug)]
struct Entry {
    view: NamespaceView,
    /// Pages scraped since it ended.
    scrapes: u32,
}

/// So many pages show a namespace's last counts before they are folded.
const SCRAPES: u32 = 2;
/// And at least this long: who scrapes once a minute sees them too, though somebody else looks at the page twice.
const SHOWN: Duration = Duration::from_secs(60);
/// When they are folded if nobody scrapes.
const UNSCRAPED: Duration = Duration::from_secs(600);
/// Ended namespaces that are kept at most; the oldest are folded before their time.
const MOST: usize = 512;

const UNTOLD_END: &str = "it ended before it was found, and what it had counted was not told";
const NOT_FOUND: &str =
    "it was not found: no process or thread that may be looked at is in it, and no file is bound to it";

impl Namespaces {
    pub(super) fn new(host: Netns, now: Timestamp) -> Self {
        let mut namespaces = Self { host, entries: BTreeMap::new(), folded: HashSet::new() };
        namespaces.entry(host, now);
        namespaces
    }

    /// Something was charged to it, or it was found.
    pub(super) fn know(&mut self, netns: Netns, now: Timestamp) {
        if !self.folded.contains(&netns) {
            self.entry(netns, now);
        }
    }

    /// Whether its counts are part of those of [`Netns::GONE`]; what the kernel side still holds of it is counted there.
    pub(super) fn is_folded(&self, netns: Netns) -> bool {
        self.folded.contains(&netns)
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

    /// It was compared. Returns whether as much was left over as the last time.
    pub(super) fn compared(&mut self, balance: NamespaceBalance) -> bool {
        let Some(entry) = self.entries.get_mut(&balance.netns) else { return true };
        entry.view.why_not = None;
        let before = entry.view.balance.replace(balance);
        before.is_some_and(|before| before.same_residual(&balance))
    }

    /// It cannot be compared at present.
    pub(super) fn not_compared(&mut self, netns: Netns, why: &str) {
        if let Some(entry) = self.entries.get_mut(&netns)
            && entry.view.why_not.as_deref() != Some(why)
        {
            entry.view.why_not = Some(why.into());
        }
    }

    /// Some have ended.
    pub(super) fn end(&mut self, has_ended: impl Fn(Netns) -> bool, now: Timestamp) {
        for (netns, entry) in &mut self.entries {
            if *netns != Netns::GONE && *netns != self.host && has_ended(*netns) {
                entry.view.ended.get_or_insert(now);
            }
        }
    }

    /// A page with everything in it was scraped.
    pub(super) fn scraped(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.view.ended.is_some()) {
            entry.scrapes += 1;
        }
    }

    /// Takes out those that ended and were shown long enough; their balances are summed up under [`Netns::GONE`].
    ///
    /// While a living namespace has the same name, its series are theirs too: they stay, as long as there is room.
    pub(super) fn fold(&mut self, now: Timestamp) -> Vec<Netns> {
        let alive = self.entries.values().filter(|entry| entry.view.ended.is_none());
        let names: HashSet<_> = alive.map(|entry| Arc::clone(&entry.view.name)).collect();
        let mut ended: Vec<_> =
            self.entries.values().filter_map(|entry| Some((entry.view.ended?, entry))).collect();
        ended.sort_unstable_by_key(|(at, entry)| (*at, entry.view.netns));
        let surplus = ended.len().saturating_sub(MOST);
        let ripe = |(index, (at, entry)): (usize, (Timestamp, &Entry))| {
            let shown = entry.scrapes >= SCRAPES && now.since(at) >= SHOWN || now.since(at) >= UNSCRAPED;
            let folds = index < surplus || shown && !names.contains(&entry.view.name);
            folds.then_some(entry.view.netns)
        };
        let folded: Vec<_> = ended.into_iter().enumerate().filter_map(ripe).collect();
        for netns in &folded {
            let balance = self.entries.remove(netns).and_then(|entry| entry.view.balance);
            self.add_to_gone(balance, now);
            self.folded.insert(*netns);
        }
        folded
    }

    /// The kernel side holds accounts of these namespaces only.
    pub(super) fn retain_folded(&mut self, held: impl Fn(Netns) -> bool) {
        self.folded.retain(|netns| held(*netns));
    }

    /// Everything known; `charged` says what is attributed to each.
    pub(super) fn views(&self, charged: &BTreeMap<Netns, PerCounter<u64>>) -> BTreeMap<Netns, NamespaceView> {
        let view = |entry: &Entry| {
            let mut view = entry.view.clone();
            let charged = charged.get(&view.netns).copied().unwrap_or_default();
            let compared = view.balance.map(|balance| balance.charged).unwrap_or_default();
            view.charged_since =
                PerCounter::from_fn(|counter| charged.get(counter).saturating_sub(compared.get(counter)));
            if view.balance.is_none() && view.why_not.is_none() {
                view.why_not = Some(if view.ended.is_some() { UNTOLD_END } else { NOT_FOUND }.into());
            }
            (view.netns, view)
        };
        self.entries.values().map(view).collect()
    }

    fn add_to_gone(&mut self, balance: Option<NamespaceBalance>, now: Timestamp) {
        let gone = self.entry(Netns::GONE, now);
        let Some(balance) = balance else { return };
        let balance = NamespaceBalance { netns: Netns::GONE, ..balance };
        gone.view.balance = Some(gone.view.balance.map_or(balance, |before| before.and(&balance)));
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
            scrapes: 0,
        })
    }

    fn label(&self, netns: Netns, name: Option<Arc<str>>) -> Arc<str> {
        match name {
            _ if netns == Netns::GONE => "gone".into(),
            _ if netns == self.host => "host".into(),
            Some(name) => name,
            None => netns.to_string().into(),
        }
    }
}
