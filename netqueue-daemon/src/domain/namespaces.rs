//! Which network namespaces there are and were: one entry for each life of an inode number.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{NamespaceBalance, Netns, Timestamp};

/// One namespace from its first to its last sight. Its inode number may be another's later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Life(pub u64);

/// Whether a namespace is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Something was charged in it; it has not been found yet.
    Charged,
    /// A process is in it, or a name refers to it.
    Alive,
    /// Nothing refers to it any more.
    Gone,
    /// Something was charged in it, and it was gone before it was found: it was never compared.
    Missed,
}

impl Presence {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charged => "charged",
            Self::Alive => "alive",
            Self::Gone => "gone",
            Self::Missed => "missed",
        }
    }
}

/// One namespace at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceView {
    /// Which one.
    pub life: Life,
    /// Its inode number.
    pub netns: Netns,
    /// How it is called: `host`, its name, its container, or its inode number.
    pub name: Arc<str>,
    /// Whether it is there.
    pub presence: Presence,
    /// Since when it is known.
    pub since: Timestamp,
    /// Its counters, if they are compared.
    pub balance: Option<NamespaceBalance>,
}

/// All namespaces, in the order in which they became known.
#[derive(Debug)]
pub(super) struct Namespaces {
    host: Netns,
    entries: Vec<Entry>,
    current: HashMap<Netns, Life>,
    next: u64,
    scrapes: u64,
}

#[derive(Debug)]
struct Entry {
    view: NamespaceView,
    /// A name found for its number lately. It may be that of the number's next namespace: the next comparison tells.
    next_name: Option<Arc<str>>,
    gone: Option<Gone>,
}

#[derive(Clone, Copy, Debug)]
struct Gone {
    /// The scrape from which on its series are left out.
    leaves_with: u64,
    at: Timestamp,
}

/// How often a dead namespace's last numbers are scraped before they are folded.
const SCRAPES: u64 = 2;
/// Not before this long: its number's next namespace, charged already, is found meanwhile.
const SETTLED: Duration = Duration::from_secs(10);
/// When they are folded if nobody scrapes.
const UNSCRAPED: Duration = Duration::from_secs(600);

impl Namespaces {
    pub(super) fn new(host: Netns) -> Self {
        Self { host, entries: Vec::new(), current: HashMap::new(), next: 1, scrapes: 0 }
    }

    /// The number's namespace; one never heard of is noted as charged.
    pub(super) fn of(&mut self, netns: Netns, now: Timestamp) -> Life {
        match self.current.get(&netns) {
            Some(life) => *life,
            None => self.begin(netns, Presence::Charged, now),
        }
    }

    /// It was found, under this name if it has one. Returns the life before where the number is another's now.
    pub(super) fn found(&mut self, netns: Netns, name: Option<Arc<str>>, now: Timestamp) -> Option<Life> {
        let mut life = self.of(netns, now);
        let mut before = None;
        if self.entry(life).is_some_and(|entry| entry.gone.is_some()) {
            before = Some(life);
            life = self.begin(netns, Presence::Alive, now);
        }
        let (name, number) = (self.label(netns, name), self.label(netns, None));
        if let Some(entry) = self.entry(life) {
            entry.view.presence = Presence::Alive;
            if entry.view.name == name {
                entry.next_name = None;
            } else if entry.view.name == number || entry.next_name.as_ref() == Some(&name) {
                entry.view.name = name;
            } else {
                entry.next_name = Some(name);
            }
        }
        before
    }

    /// The number is another namespace's, though the last one's end was not seen. Returns the last one.
    pub(super) fn replace(&mut self, netns: Netns, now: Timestamp) -> Option<Life> {
        let before = *self.current.get(&netns)?;
        let name = self
            .entry(before)
            .map(|entry| entry.next_name.take().unwrap_or_else(|| Arc::clone(&entry.view.name)));
        self.end(netns, now);
        let life = self.begin(netns, Presence::Alive, now);
        if let (Some(entry), Some(name)) = (self.entry(life), name) {
            entry.view.name = name;
        }
        Some(before)
    }

    /// Nothing refers to it any more. Returns which one it was, if it was not gone already.
    pub(super) fn end(&mut self, netns: Netns, now: Timestamp) -> Option<Life> {
        let life = *self.current.get(&netns)?;
        let leaves_with = self.scrapes + SCRAPES;
        let entry = self.entry(life).filter(|entry| entry.gone.is_none())?;
        entry.view.presence = match entry.view.presence {
            Presence::Charged | Presence::Missed => Presence::Missed,
            Presence::Alive | Presence::Gone => Presence::Gone,
        };
        entry.gone = Some(Gone { leaves_with, at: now });
        Some(life)
    }

    pub(super) fn set_balance(&mut self, netns: Netns, balance: NamespaceBalance, now: Timestamp) {
        let life = self.of(netns, now);
        if let Some(entry) = self.entry(life) {
            entry.view.balance = Some(balance);
            if let Some(name) = entry.next_name.take() {
                entry.view.name = name;
            }
        }
    }

    /// A page with everything in it was scraped.
    pub(super) const fn scraped(&mut self) {
        self.scrapes += 1;
    }

    /// Takes out the dead that were scraped often enough, their balances summed up under [`Netns::GONE`].
    ///
    /// While a living namespace has a dead one's name, the dead one's series go on under it and are not folded. Its
    /// balance is, at once: the kernel's counters of that name begin at zero again.
    pub(super) fn fold(&mut self, now: Timestamp) -> Vec<Life> {
        let dead = |entry: &Entry| entry.gone.is_some() && entry.view.netns != Netns::GONE;
        if !self.entries.iter().any(dead) {
            return Vec::new();
        }
        let alive = self.entries.iter().filter(|entry| entry.view.presence == Presence::Alive);
        let taken: HashSet<_> = alive.map(|entry| Arc::clone(&entry.view.name)).collect();
        let mut folded = Vec::new();
        let mut balances = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| dead(entry)) {
            let Some(gone) = entry.gone else { continue };
            let dead_for = now.since(gone.at);
            let shown = self.scrapes >= gone.leaves_with && dead_for >= SETTLED || dead_for >= UNSCRAPED;
            let shares_its_name = taken.contains(&entry.view.name);
            if shown && !shares_its_name {
                folded.push(entry.view.life);
            }
            if shown || shares_its_name {
                balances.extend(entry.view.balance.take());
            }
        }
        if let Some(sum) = balances.into_iter().reduce(|sum, balance| sum.and(&balance)) {
            self.add_to_gone(&sum, now);
        }
        self.entries.retain(|entry| !folded.contains(&entry.view.life));
        self.current.retain(|_, life| !folded.contains(life));
        folded
    }

    /// Everything known, in the order of first sight.
    pub(super) fn views(&self) -> impl Iterator<Item = &NamespaceView> {
        self.entries.iter().map(|entry| &entry.view)
    }

    fn add_to_gone(&mut self, sum: &NamespaceBalance, now: Timestamp) {
        let gone = self.gone(now);
        if let Some(entry) = self.entry(gone) {
            entry.view.balance = Some(entry.view.balance.map_or(*sum, |before| before.and(sum)));
        }
    }

    /// The entry that stands for all that is folded.
    pub(super) fn gone(&mut self, now: Timestamp) -> Life {
        let life = self.of(Netns::GONE, now);
        if let Some(entry) = self.entry(life) {
            entry.view.presence = Presence::Gone;
        }
        life
    }

    fn begin(&mut self, netns: Netns, presence: Presence, now: Timestamp) -> Life {
        let life = Life(self.next);
        self.next += 1;
        let name = self.label(netns, None);
        let view = NamespaceView { life, netns, name, presence, since: now, balance: None };
        self.entries.push(Entry { view, next_name: None, gone: None });
        self.current.insert(netns, life);
        life
    }

    fn label(&self, netns: Netns, name: Option<Arc<str>>) -> Arc<str> {
        match name {
            _ if netns == Netns::GONE => "gone".into(),
            _ if netns == self.host => "host".into(),
            Some(name) => name,
            None => netns.0.to_string().into(),
        }
    }

    fn entry(&mut self, life: Life) -> Option<&mut Entry> {
        // Lives are given out in ascending order and entries keep it.
        let index = self.entries.binary_search_by_key(&life, |entry| entry.view.life).ok()?;
        self.entries.get_mut(index)
    }
}
