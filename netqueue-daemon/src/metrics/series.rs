//! Which accounts get series of their own: one per address and port, no more than allowed, sums exact.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::domain::{
    AccountKey, AccountView, Counts, DropCause, QueueState, Queues, Snapshot, SpikeScope, Traffic,
};

/// The labels every listener's series carry, in this order.
pub(super) const LABELS: [&str; 4] = ["netns", "addr", "port", "process"];

/// All accounts that share one set of labels: members of a SO_REUSEPORT group, a dead listener and its successor,
/// or, under `port="other"`, those beyond the cap and those the kernel side had no room for; under `port="gone"` those over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    /// The values of [`LABELS`].
    pub(super) labels: [String; 4],
    /// Whether a listener with a place of its own is among them.
    pub(super) listener: bool,
    /// The sum.
    pub(super) counts: Counts,
    /// Of the listeners that live, the queues of the fullest; `port="other"` has none.
    pub(super) queues: Queues,
    /// What went through all of them.
    pub(super) traffic: Traffic,
    /// Spikes under way, by cause; what had one lately is 0.
    pub(super) spikes: BTreeMap<DropCause, u64>,
}

/// The snapshot's accounts as series, and for each namespace one for those without a place of their own and one for those
/// long gone. No account changes its series but to go to the last.
pub(super) fn fold(snapshot: &Snapshot) -> Vec<Series> {
    let mut series = Vec::new();
    let mut by_labels = HashMap::new();
    let mut spikes = spikes(snapshot);
    for (account, name, counts, now) in snapshot.accounts.iter().flat_map(names) {
        let (labels, own_place) = match account.key {
            AccountKey::Listener { .. } | AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. }
                if account.apart =>
            {
                (place(snapshot, &account.key, name), true)
            }
            AccountKey::Gone(_) => (bucket(snapshot, &account.key, "gone"), false),
            AccountKey::Listener { .. }
            | AccountKey::Endpoint(_)
            | AccountKey::Ephemeral { .. }
            | AccountKey::Other(_) => (bucket(snapshot, &account.key, "other"), false),
        };
        let index = *by_labels.entry(labels.clone()).or_insert_with(|| {
            series.push(Series::new(labels));
            series.len() - 1
        });
        if let Some(series) = series.get_mut(index) {
            series.add(account, counts, own_place, now);
            if !now {
                continue;
            }
            for (cause, active) in spikes.remove(&account.key).unwrap_or_default() {
                *series.spikes.entry(cause).or_default() += u64::from(active);
            }
        }
    }
    series
}

/// The names an account had, what it was charged under each, and whether it has that name now.
fn names(account: &AccountView) -> impl Iterator<Item = (&AccountView, &str, Counts, bool)> {
    let names = account.by_name().enumerate();
    names.map(move |(place, (name, counts))| (account, name, counts, place == account.earlier.len()))
}

/// What had spikes lately, by account: the cause, and whether it goes on.
fn spikes(snapshot: &Snapshot) -> HashMap<AccountKey, Vec<(DropCause, bool)>> {
    let mut spikes = HashMap::<_, Vec<_>>::new();
    for spike in snapshot.spikes.iter() {
        if let SpikeScope::Account(key, cause) = spike.scope {
            spikes.entry(key).or_default().push((cause, spike.is_active()));
        }
    }
    spikes
}

impl Series {
    fn new(labels: [String; 4]) -> Self {
        Self {
            labels,
            listener: false,
            counts: Counts::default(),
            queues: Queues::default(),
            traffic: Traffic::default(),
            spikes: BTreeMap::new(),
        }
    }

    /// `now`: under the name the account has now, which is the one its traffic and its queues go by.
    fn add(&mut self, account: &AccountView, counts: Counts, own_place: bool, now: bool) {
        self.counts.add(&counts);
        if now {
            self.traffic.merge(&account.traffic);
        }
        if !own_place {
            return;
        }
        self.listener |= matches!(account.key, AccountKey::Listener { .. });
        if now && account.closed.is_none() {
            self.queues.accept = fuller(self.queues.accept, account.queues.accept);
            self.queues.syn = fuller(self.queues.syn, account.queues.syn);
        }
    }

    /// The labels followed by one more.
    pub(super) fn labels_and(&self, last: &str) -> [String; 5] {
        let [netns, addr, port, process] = self.labels.clone();
        [netns, addr, port, process, last.to_owned()]
    }
}

/// Members of a SO_REUSEPORT group fill up one by one: the fullest one's queue tells.
fn fuller(left: Option<QueueState>, right: Option<QueueState>) -> Option<QueueState> {
    let fullness = |queue: QueueState| f64::from(queue.length) / f64::from(queue.limit.max(1));
    match (left, right) {
        (Some(left), Some(right)) if fullness(left) >= fullness(right) => Some(left),
        (left, right) => right.or(left),
    }
}

/// The labels of an account that is called `process`.
pub(super) fn place(snapshot: &Snapshot, key: &AccountKey, process: &str) -> [String; 4] {
    let Some(addr) = key.addr() else { return bucket(snapshot, key, "other") };
    let port = key.port().map_or_else(|| "ephemeral".to_owned(), |port| port.to_string());
    [snapshot.netns_name(key.netns()), as_ss_writes(addr), port, process.to_owned()]
}

fn bucket(snapshot: &Snapshot, key: &AccountKey, name: &str) -> [String; 4] {
    [snapshot.netns_name(key.netns()), String::new(), name.to_owned(), String::new()]
}

/// `127.0.0.1`, `[::1]`.
fn as_ss_writes(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => format!("[{addr}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixture::{account, drops, endpoint, listener, other, snapshot};

    /// Whatever a process calls itself, its line of the page is one line, and its name is in quotes.
    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let name = crate::domain::printable(b"a\"} 1\n# \\\x1b\xff-and-much-more", 15);
        assert_eq!(&*name, "a\"} 1?# \\?\u{fffd}-and");
        let named = AccountView { process: name, ..account(1, listener(1, "0.0.0.0", 80), drops(3)) };
        let snapshot = snapshot(vec![named]);
        let families = crate::metrics::listeners::families(&snapshot, &fold(&snapshot)).expect("families");
        let page: Vec<u8> = families.into_iter().flat_map(|scraped| scraped.text).collect();
        let page = String::from_utf8(page).expect("text");
        let line =
            page.lines().find(|line| line.starts_with("netqueue_listen_drops_total{")).expect("a line");
        assert!(line.contains("process=\"a\\\"} 1?# \\\\?\u{fffd}-and\",") && line.ends_with(" 3"), "{line}");
    }

    fn totals(series: &[Series]) -> Vec<(&str, u64)> {
        series.iter().map(|series| (series.labels[2].as_str(), series.counts.drop_total())).collect()
    }

    #[test]
    fn members_of_a_reuseport_group_are_one_series() {
        let taken = snapshot(vec![
            account(1, listener(1, "0.0.0.0", 80), drops(5)),
            account(2, listener(2, "0.0.0.0", 80), drops(7)),
            account(3, listener(3, "::", 80), drops(1)),
        ]);
        let series = fold(&taken);
        assert_eq!(totals(&series), [("80", 12), ("80", 1)]);
        assert_eq!((series[0].labels[1].as_str(), series[1].labels[1].as_str()), ("0.0.0.0", "[::]"));
    }

    fn with_queue(socket: u64, length: u32, closed: bool) -> AccountView {
        let mut account = account(socket, listener(socket, "0.0.0.0", 80), drops(1));
        account.queues.accept = Some(QueueState { length, limit: 16 });
        account.closed = closed.then_some(account.last_seen);
        account
    }

    #[test]
    fn of_the_listeners_on_a_port_the_fullest_that_lives_tells_its_queues() {
        let accounts = [
            with_queue(1, 17, true),
            with_queue(2, 3, false),
            with_queue(3, 9, false),
            with_queue(4, 0, false),
        ];
        let mut backwards = accounts.to_vec();
        backwards.reverse();
        for accounts in [accounts.to_vec(), backwards] {
            let series = fold(&snapshot(accounts));
            assert_eq!(series[0].queues.accept, Some(QueueState { length: 9, limit: 16 }));
        }
    }

    #[test]
    fn those_without_a_place_of_their_own_and_those_long_gone_are_summed_by_namespace() {
        let mut accounts: Vec<_> =
            (1..=5).map(|n| account(n, listener(n, "0.0.0.0", n as u16), drops(10 * n))).collect();
        accounts[2..].iter_mut().for_each(|account| account.apart = false);
        accounts.push(account(6, other(), drops(100)));
        accounts.push(account(7, AccountKey::Gone(other().netns()), drops(1000)));
        let series = fold(&snapshot(accounts));
        assert_eq!(totals(&series), [("1", 10), ("2", 20), ("other", 30 + 40 + 50 + 100), ("gone", 1000)]);
        assert!(!series[2].listener);
    }

    #[test]
    fn resets_from_a_port_before_anyone_listened_there_join_the_listeners_series() {
        let taken = snapshot(vec![
            account(1, endpoint("0.0.0.0", 80), drops(0)),
            account(2, listener(1, "0.0.0.0", 80), drops(3)),
        ]);
        let series = fold(&taken);
        assert_eq!(totals(&series), [("80", 3)]);
        assert!(series[0].listener);
    }
}
