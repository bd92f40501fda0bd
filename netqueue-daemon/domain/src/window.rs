//! Sliding window over the last 15 minutes of every account that was charged in it, or in whose accept
//! queue connections waited for long. Contains the account's counts over time and, tick by tick, the
//! traffic through its accept queue. Sparse: ticks between which nothing moved are one entry.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::{AccountKey, AccountView, Counts, Sample, Timestamp, sample};

/// Maximum number of accounts remembered; those that moved least recently are forgotten first.
const ACCOUNTS: usize = 1024;
/// Minimum time between two counts that are kept.
const STEP: Duration = Duration::from_secs(5);
/// Age up to which traffic is kept tick by tick; older traffic is kept once a second.
const FINE: Duration = Duration::from_secs(60);

/// Time in the accept queue from which on a wait is remembered, also of an account without charges.
const NOTABLE: Duration = Duration::from_secs(2);
/// Maximum number of samples of an account without charges in whose queue nobody waited for long.
const UNEVENTFUL: usize = 60;

/// Recent past of one account.
#[derive(Clone, Debug)]
pub struct AccountWindow {
    /// Earlier counts, each with the first tick at which the account had them; oldest first.
    counts: VecDeque<(Timestamp, Counts)>,
    /// Current counts, with the first tick at which the account had them.
    newest: (Timestamp, Counts),
    runs: VecDeque<Sample>,
    /// Connection that was the last in the queue at that moment, as the number that had entered by then.
    watched: (u64, Timestamp),
    /// Last moment at which a connection had waited for [`NOTABLE`].
    waited: Option<Timestamp>,
}

/// Recent past of all accounts.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    pasts: HashMap<AccountKey, Arc<AccountWindow>>,
    /// All accounts that exist and were ever charged: one that has no past was forgotten.
    charged: Arc<HashSet<AccountKey>>,
    ticked: Option<Timestamp>,
}

impl AccountWindow {
    /// Time that the window reaches back.
    pub const HELD: Duration = Duration::from_secs(15 * 60);

    /// Returns the account's counts at `when`, or a few seconds before. Returns the earliest counts that
    /// are left if the window does not reach back so far.
    #[must_use]
    pub fn counts_at(&self, when: Timestamp) -> &Counts {
        let all = || self.counts.iter().chain([&self.newest]);
        let found = all().rev().find(|(since, _)| *since <= when).or_else(|| all().next());
        found.map_or(&self.newest.1, |(_, counts)| counts)
    }

    /// Returns the traffic, oldest first.
    #[must_use]
    pub fn runs(&self) -> &VecDeque<Sample> {
        &self.runs
    }

    /// Returns the most drops that were counted within about one second, from `from` on.
    #[must_use]
    pub fn most_drops_in_a_second(&self, from: Timestamp) -> u64 {
        const SECOND: Duration = Duration::from_secs(1);
        let risen = |(index, run): (usize, &Sample)| {
            // The last state still in effect within a second before: the drops since rose within that second.
            let before = self.runs.iter().take(index);
            let before = before.rev().take_while(|earlier| run.since.since(earlier.until) <= SECOND).last();
            let nearest = index.checked_sub(1).and_then(|index| self.runs.get(index));
            before.or(nearest).map_or(0, |before| run.drops.saturating_sub(before.drops))
        };
        let recent = self.runs.iter().enumerate().filter(|(_, run)| run.since >= from);
        recent.map(risen).max().unwrap_or(0)
    }

    /// Creates the past of an account that had these counts at that moment.
    fn new(start: (Timestamp, Counts), run: Sample) -> Self {
        let (since, counts) = start;
        let drops = sample::queue_drops(&counts);
        let first = if since < run.since { Sample { waiting: 0, ..run } } else { run };
        let first = Sample { since, until: since, drops, ..first };
        Self {
            counts: VecDeque::new(),
            newest: start,
            runs: [first].into(),
            watched: (run.entered, run.since),
            waited: None,
        }
    }

    fn charge(&mut self, counts: Counts, now: Timestamp) {
        let (since, checkpoint) = self.newest;
        if checkpoint == counts {
            return;
        }
        let stood = now.since(since) >= STEP;
        if stood || self.counts.back().is_none_or(|(last, _)| since.since(*last) >= STEP) {
            self.counts.push_back((since, checkpoint));
        }
        self.newest = (now, counts);
        let forget = now.before(Self::HELD);
        while self.counts.get(1).is_some_and(|(since, _)| *since <= forget) {
            self.counts.pop_front();
        }
    }

    /// Returns when the counts last changed, as far as the window reaches back.
    #[must_use]
    pub const fn last_charged(&self) -> Timestamp {
        self.newest.0
    }

    /// Notes whether a connection waits for long: the one that is watched has not left the queue.
    fn watch(&mut self, run: Sample) {
        let left = run.entered.saturating_sub(u64::from(run.waiting));
        if run.waiting == 0 || left >= self.watched.0 {
            self.watched = (run.entered, run.until);
        } else if run.until.since(self.watched.1) >= NOTABLE {
            self.waited = Some(run.until);
        }
    }

    /// Returns whether the past of an account without charges tells nothing that matters.
    fn is_uneventful(&self, now: Timestamp) -> bool {
        let waiting = self.runs.back().is_some_and(|run| run.waiting > 0);
        match self.waited {
            Some(waited) => now.since(waited) > Self::HELD,
            None => !waiting || self.runs.len() > UNEVENTFUL,
        }
    }

    fn flow(&mut self, run: Sample) {
        self.watch(run);
        match self.runs.back_mut() {
            Some(last)
                if (last.drops, last.entered, last.accepted, last.waiting)
                    == (run.drops, run.entered, run.accepted, run.waiting) =>
            {
                last.until = run.until;
            }
            Some(_) | None => self.runs.push_back(run),
        }
        let forget = run.until.before(Self::HELD);
        while self.runs.get(1).is_some_and(|run| run.since <= forget) {
            self.runs.pop_front();
        }
        self.thin(run.until.before(FINE));
    }

    /// Thins out traffic older than [`FINE`] to one run a second.
    fn thin(&mut self, coarse: Timestamp) {
        let index = self.runs.partition_point(|run| run.until <= coarse);
        let (Some(before), Some(last)) = (index.checked_sub(2), index.checked_sub(1)) else { return };
        if let (Some(one), Some(two)) = (self.runs.get(before), self.runs.get(last))
            && before > 0
            && two.until.since(one.since) < Duration::from_secs(1)
        {
            self.runs.remove(before);
        }
    }
}

impl Windows {
    /// Restarts an account's past from its current counts, after others' counts were added to it.
    pub fn set_apart(&mut self, account: &AccountView, now: Timestamp) {
        if is_told(account) && account.counts != Counts::default() {
            let past = AccountWindow::new((now, account.counts), Sample::of(account, now));
            self.pasts.insert(account.key, Arc::new(past));
        }
    }

    /// Removes an account that ended; should it come back, it begins at nothing.
    pub fn remove(&mut self, key: &AccountKey) {
        self.pasts.remove(key);
        if self.charged.contains(key) {
            Arc::make_mut(&mut self.charged).remove(key);
        }
    }

    /// Takes in the accounts as they are at `now`.
    pub fn tick(&mut self, accounts: &[Arc<AccountView>], now: Timestamp) {
        for account in accounts.iter().filter(|account| is_told(account)) {
            let run = Sample::of(account, now);
            let known = self.charged.contains(&account.key);
            let charged = account.counts != Counts::default();
            if !charged && run.waiting == 0 && !self.pasts.contains_key(&account.key) {
                continue;
            }
            if !known && charged {
                Arc::make_mut(&mut self.charged).insert(account.key);
            }
            let past = match self.pasts.entry(account.key) {
                Entry::Occupied(past) => past.into_mut(),
                // Forgotten, and nothing was charged since.
                Entry::Vacant(_) if known && Some(account.last_seen) <= self.ticked => continue,
                Entry::Vacant(place) => {
                    // An account that was not there at the tick before had no counts then; another's past is
                    // unknown.
                    let start = match self.ticked {
                        Some(before) if !known && charged => (before, Counts::default()),
                        Some(_) | None => (now, account.counts),
                    };
                    place.insert(Arc::new(AccountWindow::new(start, run)))
                }
            };
            let last = past.runs.back();
            let traffic = |run: &Sample| (run.entered, run.accepted, run.waiting);
            let same = last.is_some_and(|last| traffic(last) == traffic(&run));
            let idle = run.waiting == 0 && now.since(past.newest.0) > AccountWindow::HELD;
            if past.newest.1 != account.counts
                || !idle && (!same || last.is_some_and(|last| last.until < now))
            {
                let past = Arc::make_mut(past);
                past.charge(account.counts, now);
                past.flow(run);
            }
            if !charged && past.is_uneventful(now) {
                self.pasts.remove(&account.key);
            }
        }
        self.forget();
        self.leave_out_the_gone(accounts);
        self.ticked = Some(now);
    }

    /// Removes entries of accounts that no longer exist: there are never more entries than accounts.
    fn leave_out_the_gone(&mut self, accounts: &[Arc<AccountView>]) {
        if self.charged.len() > accounts.len() {
            let there: HashSet<_> = accounts.iter().map(|account| account.key).collect();
            Arc::make_mut(&mut self.charged).retain(|key| there.contains(key));
            self.pasts.retain(|key, _| there.contains(key));
        }
    }

    /// Returns an account's recent past, if it was charged and is not forgotten.
    #[must_use]
    pub fn of(&self, account: &AccountKey) -> Option<&AccountWindow> {
        self.pasts.get(account).map(|past| &**past)
    }

    fn forget(&mut self) {
        if self.pasts.len() <= ACCOUNTS {
            return;
        }
        let mut moved: Vec<_> = self.pasts.iter().map(|(key, past)| (past.newest.0, *key)).collect();
        moved.sort_unstable();
        for (_, key) in moved.iter().take(self.pasts.len() - ACCOUNTS) {
            self.pasts.remove(key);
        }
    }
}

/// Returns whether the account may have a recent past.
///
/// Buckets of ended accounts have none: they rise by what happened long ago.
fn is_told(account: &AccountView) -> bool {
    !matches!(account.key, AccountKey::Gone(_))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{AccountId, DropKind, Endpoint, Netns, SocketId};

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn account(number: u32, drops: u64, moved: u64) -> Arc<AccountView> {
        let place = Endpoint { netns: Netns::at_attach(7), addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
        let key = AccountKey::Listener { socket: SocketId(number.into()), at: place };
        let counts = Counts::from_fn(
            |kind| if kind == DropKind::AcceptQueueFullSyn { drops } else { 0 },
            |_| 0,
            |_| 0,
        );
        let new = AccountView::new(AccountId(u64::from(number)), key, Arc::default(), at(moved));
        Arc::new(AccountView { counts, last_seen: at(moved), ..new })
    }

    fn since(recent: &Windows, account: &AccountView, from: u64) -> Option<u64> {
        let past = recent.of(&account.key)?;
        Some(account.counts.less(past.counts_at(at(from))).drop_total())
    }

    #[test]
    fn what_was_charged_in_a_window_is_told_from_what_was_before() {
        let mut recent = Windows::default();
        let drops = |second: u64| if second < 100 { 5 * (second / 10) } else { 50 };
        for second in 1..=200 {
            recent.tick(&[account(1, drops(second), second)], at(second));
        }
        let now = account(1, 50, 200);
        assert_eq!(since(&recent, &now, 0), Some(50));
        assert_eq!(since(&recent, &now, 55), Some(25));
        assert_eq!(since(&recent, &now, 120), Some(0), "quiet since, however long ago the last change was");
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_no_more() {
        let mut recent = Windows::default();
        for second in 1..=4000 {
            recent.tick(&[account(1, second, second)], at(second));
        }
        let past = recent.of(&account(1, 0, 0).key).expect("it moved");
        assert!(
            past.counts.len() <= 200 && past.runs.len() <= 1000,
            "{} {}",
            past.counts.len(),
            past.runs.len()
        );
        assert_eq!(
            since(&recent, &account(1, 4000, 4000), 3500).map(|drops| drops.abs_diff(500) <= 5),
            Some(true)
        );
        assert_eq!(past.most_drops_in_a_second(at(3900)), 1);
    }

    /// Creates a listener without charges, in whose queue so many wait of those that entered.
    fn quiet(number: u32, entered: u64, waiting: u32) -> Arc<AccountView> {
        let queue = crate::QueueState { length: waiting, limit: 4096 };
        let queues = crate::Queues { accept: Some(queue), syn: None };
        let accepted = entered - u64::from(waiting);
        let traffic =
            Arc::new(crate::Traffic { established: entered, accepted, ..crate::Traffic::default() });
        Arc::new(AccountView { queues, traffic, ..(*account(number, 0, 1)).clone() })
    }

    #[test]
    fn an_account_that_only_waits_is_remembered_and_one_whose_queue_moves_is_not() {
        let mut recent = Windows::default();
        for second in 1..=120 {
            let (hangs, moves) = (quiet(1, 70, 70), quiet(2, 1000 * second, 3));
            recent.tick(&[hangs, moves, quiet(3, second, 0)], at(second));
        }
        let runs = |number| recent.of(&account(number, 0, 0).key).map_or(0, |past| past.runs.len());
        assert_eq!((runs(1), runs(3)), (1, 0));
        assert!(runs(2) <= UNEVENTFUL, "{}", runs(2));
        for second in 121..=1100 {
            recent.tick(&[quiet(1, 70, 0)], at(second));
        }
        assert!(recent.of(&account(1, 0, 0).key).is_none(), "a quarter of an hour later it is forgotten");
    }

    #[test]
    fn ports_that_come_and_go_for_ever_leave_nothing_behind() {
        let mut recent = Windows::default();
        for second in 1..=5000 {
            let there: Vec<_> = (0..20).map(|port| account(second * 20 + port, 1, second.into())).collect();
            recent.tick(&there, at(second.into()));
            assert!(recent.charged.len() <= 20 && recent.pasts.len() <= 20, "{}", recent.charged.len());
        }
    }

    #[test]
    fn an_account_that_was_forgotten_is_not_taken_for_a_new_one() {
        let mut recent = Windows::default();
        recent.tick(&[], at(1));
        let old = account(0, 540, 2);
        recent.tick(std::slice::from_ref(&old), at(2));
        let mut all = vec![old.clone()];
        all.extend((1..=ACCOUNTS as u32 + 5).map(|number| account(number, 1, 3)));
        recent.tick(&all, at(3));
        recent.tick(&all, at(4));
        assert_eq!(since(&recent, &old, 0), None, "forgotten");
        all[0] = account(0, 541, 5);
        recent.tick(&all, at(5));
        assert_eq!(since(&recent, &all[0], 0), Some(0), "from here on");
        all[0] = account(0, 550, 6);
        recent.tick(&all, at(6));
        assert_eq!(since(&recent, &all[0], 0), Some(9));
    }
}
