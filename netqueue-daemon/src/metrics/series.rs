//! Merges accounts into series: one per address and port, at most as many as allowed, with exact sums.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write as _,
    net::IpAddr,
    sync::Arc,
};

use netqueue_domain::{
    AccountKey, AccountView, Counts, DropCause, Netns, QueueState, Queues, Snapshot, SpikeScope, Traffic,
};

use super::text;

/// Labels that the series of every listener have, in this order.
pub(super) const LABELS: [&str; 4] = ["netns", "addr", "port", "process"];

/// Accounts that share one set of labels.
/// Members of a SO_REUSEPORT group, or a closed listener and its successor. With `port="other"` those beyond
/// the limit of series and those without a slot; with `port="gone"` those that ended long ago. With an empty
/// port the namespace as a whole, for its spikes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    /// Values of [`LABELS`], as they are written.
    pub(super) labels: Vec<u8>,
    /// True if a listener with a series of its own is among the accounts.
    pub(super) listener: bool,
    /// Open listeners among the accounts, by their index in the snapshot.
    pub(super) members: Vec<u32>,
    /// Sum of the counts.
    pub(super) counts: Counts,
    /// Queues of the fullest open listener; `port="other"` has none.
    pub(super) queues: Queues,
    /// Sum of the traffic.
    pub(super) traffic: Arc<Traffic>,
    /// Number of active spikes, by cause; 0 for causes that recently had one.
    pub(super) spikes: BTreeMap<DropCause, u64>,
    /// Number of active spikes of the namespace as a whole.
    pub(super) namespace_spikes: Option<u64>,
}

/// Merges the snapshot's accounts into series, ordered by their labels.
/// Each namespace has one more for accounts without a series of their own, and one for those that ended long
/// ago. An account never changes its series but to move to the last.
pub(super) fn fold(snapshot: &Snapshot) -> Vec<Series> {
    let mut folded = Folded::default();
    let mut spikes = spikes(snapshot);
    let accounts = (0..).zip(snapshot.accounts.iter());
    for (index, (account, name, counts, now)) in
        accounts.flat_map(|(index, account)| names(account).map(move |name| (index, name)))
    {
        let own_place = account.apart
            && matches!(
                account.key,
                AccountKey::Listener { .. } | AccountKey::Endpoint(_) | AccountKey::Ephemeral { .. }
            );
        let place = match account.key {
            AccountKey::Gone(_) => Place::Bucket("gone"),
            _ if own_place => Place::Of(&account.key, name),
            AccountKey::Listener { .. }
            | AccountKey::Endpoint(_)
            | AccountKey::Ephemeral { .. }
            | AccountKey::Other(_) => Place::Bucket("other"),
        };
        let series = folded.at(snapshot, account.key.netns(), place);
        series.add(account, counts, own_place, now);
        if own_place && now && account.closed.is_none() && account.listener.is_some() {
            series.members.push(index);
        }
        if !spikes.is_empty() && now {
            for (cause, active) in spikes.remove(&account.key).unwrap_or_default() {
                *series.spikes.entry(cause).or_default() += u64::from(active);
            }
        }
    }
    for (netns, active) in namespace_spikes(snapshot) {
        let series = folded.at(snapshot, netns, Place::Bucket(""));
        *series.namespace_spikes.get_or_insert(0) += active;
    }
    folded.in_order()
}

/// Series within a namespace.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Series of an account's address and port, under this process name.
    Of(&'a AccountKey, &'a str),
    /// Series of several accounts, by its value of the label `port`.
    Bucket(&'static str),
}

/// Series found so far, by their labels.
#[derive(Default)]
struct Folded {
    series: Vec<Series>,
    places: HashMap<Vec<u8>, usize>,
    /// Buffer for the labels of the current account.
    labels: Vec<u8>,
    /// Namespace of the current account, and its name.
    netns: Option<(Netns, String)>,
    quiet: Arc<Traffic>,
}

impl Folded {
    /// Returns the series of this place, created if necessary.
    fn at(&mut self, snapshot: &Snapshot, netns: Netns, place: Place<'_>) -> &mut Series {
        if self.netns.as_ref().is_none_or(|(known, _)| *known != netns) {
            self.netns = Some((netns, snapshot.netns_name(netns)));
        }
        let name = self.netns.as_ref().map_or("", |(_, name)| name);
        self.labels.clear();
        write_labels(&mut self.labels, name, place);
        let index = match self.places.get(&self.labels) {
            Some(index) => *index,
            None => {
                self.places.insert(self.labels.clone(), self.series.len());
                self.series.push(Series { traffic: Arc::clone(&self.quiet), ..Series::default() });
                self.series.len() - 1
            }
        };
        &mut self.series[index]
    }

    fn in_order(mut self) -> Vec<Series> {
        for (labels, index) in self.places {
            self.series[index].labels = labels;
        }
        self.series.sort_unstable_by(|one, other| one.labels.cmp(&other.labels));
        self.series
    }
}

/// Returns the names that an account had, its counts under each, and whether that is its present name.
fn names(account: &AccountView) -> impl Iterator<Item = (&AccountView, &str, Counts, bool)> {
    let names = account.by_name().enumerate();
    names.map(move |(place, (name, counts))| (account, name, counts, place == account.earlier.len()))
}

/// Returns the recent spikes by account: the cause, and whether the spike is active.
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
    /// Adds an account.
    /// `now`: under its present name, the only one under which its traffic and queues are added.
    fn add(&mut self, account: &AccountView, counts: Counts, own_place: bool, now: bool) {
        self.counts.add(&counts);
        if now {
            match &*self.traffic {
                // Most series have a single account and share its traffic.
                traffic if traffic.is_none() => self.traffic = Arc::clone(&account.traffic),
                _ if account.traffic.is_none() => {}
                _ => Arc::make_mut(&mut self.traffic).merge(&account.traffic),
            }
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
}

/// Returns the fuller queue, since members of a SO_REUSEPORT group fill up one by one.
fn fuller(left: Option<QueueState>, right: Option<QueueState>) -> Option<QueueState> {
    let fullness = |queue: QueueState| f64::from(queue.length) / f64::from(queue.limit.max(1));
    match (left, right) {
        (Some(left), Some(right)) if fullness(left) >= fullness(right) => Some(left),
        (left, right) => right.or(left),
    }
}

/// Writes [`LABELS`] with their values; an address as `ss` writes it: `127.0.0.1`, `[::1]`.
fn write_labels(out: &mut Vec<u8>, netns: &str, place: Place<'_>) {
    text::label(out, LABELS[0], netns);
    // Writing to memory cannot fail.
    let (process, _done) = match place {
        Place::Bucket(name) => ("", write!(out, ",addr=\"\",port=\"{name}\",")),
        Place::Of(key, process) => {
            let _done = match key.addr() {
                Some(IpAddr::V4(addr)) => write!(out, ",addr=\"{addr}\",port="),
                Some(IpAddr::V6(addr)) => write!(out, ",addr=\"[{addr}]\",port="),
                None => write!(out, ",addr=\"\",port="),
            };
            (
                process,
                match key.port() {
                    Some(port) => write!(out, "\"{port}\","),
                    None => write!(out, "\"ephemeral\","),
                },
            )
        }
    };
    text::label(out, LABELS[3], process);
}

/// Returns every compared namespace, and every one that recently had a spike, with its active spikes.
fn namespace_spikes(snapshot: &Snapshot) -> impl Iterator<Item = (Netns, u64)> {
    let compared = snapshot.balances().map(|balance| (balance.netns, 0));
    let spikes = snapshot.spikes.iter().filter_map(|spike| match spike.scope {
        SpikeScope::Namespace(netns) => Some((netns, u64::from(spike.is_active()))),
        SpikeScope::Account(..) => None,
    });
    compared.chain(spikes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixture::{account, drops, endpoint, listener, other, snapshot};

    /// A process name cannot break out of its quotes or its line.
    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let name = netqueue_domain::printable(b"a\"} 1\n# \\\x1b\xff-and-much-more", 15);
        assert_eq!(&*name, "a\"} 1?# \\?\u{fffd}-and");
        let named = AccountView { process: name, ..account(1, listener(1, "0.0.0.0", 80), drops(3)) };
        let page = crate::metrics::pieces(Arc::new(snapshot(vec![named]))).flatten().collect();
        let page = String::from_utf8(page).expect("text");
        let line =
            page.lines().find(|line| line.starts_with("netqueue_listen_drops_total{")).expect("a line");
        assert!(line.contains("process=\"a\\\"} 1?# \\\\?\u{fffd}-and\",") && line.ends_with(" 3"), "{line}");
    }

    fn label<'a>(series: &'a Series, name: &str) -> &'a str {
        let labels = std::str::from_utf8(&series.labels).expect("text");
        let (_, rest) = labels.split_once(&format!("{name}=\"")).expect("every series has it");
        rest.split('"').next().expect("it has an end")
    }

    fn totals(series: &[Series]) -> Vec<(&str, u64)> {
        series.iter().map(|series| (label(series, "port"), series.counts.drop_total())).collect()
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
        assert_eq!((label(&series[0], "addr"), label(&series[1], "addr")), ("0.0.0.0", "[::]"));
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
        assert_eq!(totals(&series), [("gone", 1000), ("other", 30 + 40 + 50 + 100), ("1", 10), ("2", 20)]);
        assert!(!series[1].listener && series[2].listener);
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
