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
    pub(super) fn new(host: Netns, now: Timestamp) -> Self {
        let mut namespaces = Self { host, entries: BTreeMap::new() };
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

    /// How it is called.
    pub(super) fn name(&self, netns: Netns) -> Arc<str> {
        let known = self.entries.get(&netns).map(|entry| Arc::clone(&entry.view.name));
        known.unwrap_or_else(|| self.label(netns, None))
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
            _ if netns == self.host => "host".into(),
            Some(name) => name,
            None => netns.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::{
        AccountKey, Aggregator, Bracket, Counts, Endpoint, KernelCounter, Observation, Settings, Snapshot,
        SocketId, Start,
    };

    const HOST: Netns = Netns::at_attach(1);
    const FIRST: Netns = Netns { inode: 7, generation: 1 };
    const SECOND: Netns = Netns { inode: 7, generation: 2 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn all(value: u64) -> PerCounter<u64> {
        PerCounter::from_fn(|_| value)
    }

    fn told(seconds: u64, what: Observation, queues: &mut Aggregator) -> Snapshot {
        queues.apply(at(seconds), what);
        queues.snapshot(at(seconds))
    }

    fn charged(netns: Netns, value: u64) -> Observation {
        let place = Endpoint { netns, addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
        let counts = Counts::from_fn(|_| 0, |_| 0, |_| value);
        Observation::Counts(vec![(AccountKey::Endpoint(place), counts)])
    }

    fn ended(netns: Netns, kernel: u64, charged: u64) -> Observation {
        Observation::Namespaces(NamespaceNews {
            farewells: vec![(Farewell { netns, kernel: all(kernel) }, all(charged))],
            ended: vec![netns],
            ..NamespaceNews::default()
        })
    }

    fn found(netns: Netns, name: &str) -> Observation {
        let found = vec![(netns, Some(name.into()))];
        Observation::Namespaces(NamespaceNews { found, ..NamespaceNews::default() })
    }

    fn aggregator() -> Aggregator {
        Aggregator::new(Settings { event_memory: 1 << 20, ..Settings::of(HOST) }, at(0))
    }

    fn residual(snapshot: &Snapshot, netns: Netns) -> Option<i64> {
        let balance = snapshot.namespaces.get(&netns)?.balance?;
        Some(balance.counters.get(KernelCounter::ListenDrops).residual)
    }

    #[test]
    fn two_that_had_one_inode_number_are_each_compared_with_their_own_counters() {
        let mut queues = aggregator();
        told(1, charged(FIRST, 9), &mut queues);
        told(2, ended(FIRST, 9, 9), &mut queues);
        told(3, charged(SECOND, 4), &mut queues);
        let taken = told(4, ended(SECOND, 5, 4), &mut queues);
        assert_eq!((residual(&taken, FIRST), residual(&taken, SECOND)), (Some(0), Some(1)));
        assert_eq!(taken.netns_name(SECOND), "7.2");
        let first = &taken.namespaces[&FIRST];
        let balance = first.balance.expect("it was compared");
        assert_eq!((first.ended, balance.last, balance.start), (Some(at(2)), true, Start::Birth));
    }

    #[test]
    fn one_whose_end_was_not_told_says_how_old_its_comparison_is_and_what_was_charged_since() {
        let mut queues = aggregator();
        told(1, charged(FIRST, 9), &mut queues);
        told(2, Observation::Compared(FIRST, Bracket::still(all(9), all(9))), &mut queues);
        told(3, charged(FIRST, 12), &mut queues);
        let news = NamespaceNews { ended: vec![FIRST], ..NamespaceNews::default() };
        let taken = told(4, Observation::Namespaces(news), &mut queues);
        let view = &taken.namespaces[&FIRST];
        let balance = view.balance.expect("it was compared");
        assert_eq!((balance.read, balance.last, view.ended), (at(2), false, Some(at(4))));
        assert_eq!(view.charged_since, all(3));
    }

    #[test]
    fn one_that_was_there_at_attach_and_ended_unseen_is_not_said_to_be_exact() {
        let old = Netns::at_attach(9);
        let mut queues = aggregator();
        told(1, charged(old, 3), &mut queues);
        let taken = told(2, ended(old, 5000, 3), &mut queues);
        let view = &taken.namespaces[&old];
        assert_eq!(view.balance, None);
        assert!(view.why_not.as_deref().is_some_and(|why| why.contains("ended before it was found")));
    }

    #[test]
    fn one_in_which_nothing_ever_happened_leaves_no_trace_and_one_that_lost_a_charge_does() {
        let mut queues = aggregator();
        assert_eq!(told(1, ended(FIRST, 0, 0), &mut queues).namespaces.len(), 1, "the host's");
        let taken = told(2, ended(SECOND, 2, 0), &mut queues);
        assert_eq!(residual(&taken, SECOND), Some(2));
    }

    fn pod(number: u32) -> Netns {
        Netns { inode: 100 + number, generation: 1 }
    }

    /// A life in which a port without a listener and a closed listener were charged.
    fn life(queues: &mut Aggregator, netns: Netns, name: Option<&str>, at_second: u64) {
        let place = Endpoint { netns, addr: Ipv4Addr::LOCALHOST.into(), port: 80 };
        let key = AccountKey::Endpoint(place);
        if let Some(name) = name {
            queues.apply(at(at_second), found(netns, name));
        }
        let socket = SocketId(u64::from(netns.inode));
        let listener = AccountKey::Listener { socket, at: Endpoint { port: 81, ..place } };
        let counts = Counts::from_fn(|_| 0, |_| 0, |_| 3);
        for key in [key, listener] {
            queues.apply(at(at_second), Observation::Counts(vec![(key, counts)]));
        }
        queues.apply(at(at_second), Observation::Closed(vec![(listener, at(at_second))]));
        queues.apply(at(at_second), ended(netns, 6, 6));
        queues.apply(at(at_second), Observation::Settled(vec![(key, counts), (listener, counts)]));
    }

    fn sum(taken: &Snapshot, of: impl Fn(Netns) -> bool) -> u64 {
        let counted = taken.accounts.iter().filter(|account| of(account.key.netns()));
        counted.map(|account| account.counts.kernel().get(KernelCounter::ListenDrops)).sum()
    }

    fn scraped(queues: &mut Aggregator, times: usize) {
        (0..times).for_each(|_| queues.scraped());
    }

    #[test]
    fn a_namespace_that_ended_is_shown_in_two_scrapes_and_then_part_of_those_gone() {
        let mut queues = aggregator();
        life(&mut queues, pod(1), None, 10);
        scraped(&mut queues, 1);
        queues.tick(at(500));
        assert!(queues.snapshot(at(500)).namespaces.contains_key(&pod(1)), "it was shown once");
        scraped(&mut queues, 1);
        queues.tick(at(501));
        let taken = queues.snapshot(at(501));
        assert!(!taken.namespaces.contains_key(&pod(1)));
        assert_eq!((sum(&taken, |netns| netns == pod(1)), sum(&taken, |netns| netns == Netns::GONE)), (0, 6));
        let gone = &taken.namespaces[&Netns::GONE];
        let balance = gone.balance.expect("all were compared");
        assert_eq!((&*gone.name, balance.last, gone.charged_since), ("gone", true, all(0)));
        let drops = balance.counters.get(KernelCounter::ListenDrops);
        assert_eq!((drops.since_attach, drops.attributed, drops.residual), (6, 6, 0));
    }

    #[test]
    fn while_a_namespace_of_the_same_name_lives_its_series_do_not_fall() {
        let mut queues = aggregator();
        for number in 1..=100 {
            life(&mut queues, pod(number), Some("job"), u64::from(number) * 200);
            let living = pod(number + 1);
            told(u64::from(number) * 200 + 1, found(living, "job"), &mut queues);
            told(u64::from(number) * 200 + 1, charged(living, 3), &mut queues);
            scraped(&mut queues, 2);
            queues.tick(at(u64::from(number) * 200 + 150));
            let taken = queues.snapshot(at(u64::from(number) * 200 + 150));
            let there = taken.accounts.iter().filter(|account| account.key.port() == Some(80));
            let there = there.map(|account| account.counts.kernel().get(KernelCounter::ListenDrops));
            assert_eq!(there.sum::<u64>(), u64::from(number) * 3 + 3);
            assert_eq!(sum(&taken, |_| true), u64::from(number) * 6 + 3);
            assert!(taken.accounts.len() <= 8 && taken.namespaces.len() <= 5, "{number}");
            let balances = taken.balances().filter(|balance| taken.netns_name(balance.netns) == "job");
            let attributed =
                balances.map(|balance| balance.counters.get(KernelCounter::ListenDrops).attributed);
            assert_eq!(attributed.sum::<i64>(), i64::from(number) * 6);
        }
    }

    #[test]
    fn nobody_scrapes_and_thousands_of_namespaces_come_and_go_in_bounded_memory() {
        let keep = crate::domain::Keep { most: 300, ..crate::domain::Keep::default() };
        let mut queues = Aggregator::new(Settings { keep, ..Settings::of(HOST) }, at(0));
        for number in 1..=1500 {
            life(&mut queues, pod(number), None, u64::from(number));
            queues.tick(at(number.into()));
            if number % 500 == 0 {
                let taken = queues.snapshot(at(number.into()));
                assert!(taken.accounts.len() <= 1200, "{}", taken.accounts.len());
                assert!(taken.namespaces.len() <= MOST + 10, "{}", taken.namespaces.len());
                assert_eq!(sum(&taken, |_| true), u64::from(number) * 6);
            }
        }
    }

    #[test]
    fn a_name_is_shown_wherever_the_namespace_is() {
        let mut queues = aggregator();
        told(1, found(FIRST, "blue"), &mut queues);
        let taken = told(2, found(HOST, "not this one"), &mut queues);
        assert_eq!((taken.netns_name(FIRST), taken.netns_name(HOST)), ("blue".to_owned(), "host".to_owned()));
    }
}
