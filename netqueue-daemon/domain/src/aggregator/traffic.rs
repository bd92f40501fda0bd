//! Traffic through listeners, and the lengths of their queues.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Aggregator, past::Went};
use crate::{AccountKey, AccountView, Peak, Peaks, QueueState, Queues, Timestamp, Traffic, TrafficReading};

impl Aggregator {
    /// Takes in a reading of the kernel side's traffic, which also opens accounts without charges.
    pub fn flow(&mut self, readings: impl IntoIterator<Item = (AccountKey, TrafficReading)>, now: Timestamp) {
        for (key, TrafficReading { counts, accept_peak: accept_longest, queues }) in readings {
            let index = self.open(key, now);
            let peaks = self.peaks.entry(self.accounts[index].id).or_default();
            peaks.accept.observe(accept_longest, now);
            peaks.observe(queues, now);
            let (accept_peak, syn_peak) = peaks.now(now);
            let traffic = Traffic { accept_peak, syn_peak, ..counts };
            let account = self.edit(index);
            if account.traffic.established != traffic.established {
                account.last_seen = account.last_seen.max(now);
            }
            if queues != Queues::default() {
                account.queues = queues;
            }
            let went = Went::between(&account.traffic, &traffic);
            if *account.traffic != traffic {
                account.traffic = Arc::new(traffic);
            }
            self.remember_traffic(index, went, queues, accept_longest, now);
        }
    }

    /// Notes that the last snapshot was scraped, so that peaks since the last scrape begin anew.
    pub fn scraped(&mut self) {
        self.peaks.values_mut().for_each(|peaks| {
            peaks.accept.scraped();
            peaks.syn.scraped();
        });
        for account in &mut self.accounts {
            if let Some(scrapes) = account.over.filter(|scrapes| *scrapes < u8::MAX) {
                Arc::make_mut(account).over = Some(scrapes + 1);
            }
        }
        self.namespaces.scraped();
    }

    /// Returns the account with its current peaks: the window moves on even if nothing happens.
    pub(super) fn with_peaks(&self, account: &Arc<AccountView>, now: Timestamp) -> Arc<AccountView> {
        let mut account = Arc::clone(account);
        if let Some(peaks) = self.peaks.get(&account.id) {
            let (accept_peak, syn_peak) = peaks.now(now);
            if (account.traffic.accept_peak, account.traffic.syn_peak) != (accept_peak, syn_peak) {
                let traffic = Arc::make_mut(&mut Arc::make_mut(&mut account).traffic);
                (traffic.accept_peak, traffic.syn_peak) = (accept_peak, syn_peak);
            }
        }
        account
    }
}

/// High-water marks of a listener's two queues.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueuePeaks {
    accept: Peaks,
    syn: Peaks,
}

impl QueuePeaks {
    pub(super) fn observe(&mut self, queues: Queues, now: Timestamp) {
        let length = |queue: Option<QueueState>| queue.map_or(0, |queue| queue.length);
        self.accept.observe(length(queues.accept), now);
        self.syn.observe(length(queues.syn), now);
    }

    /// Returns the current peaks of the accept queue and of the SYN queue.
    fn now(&self, now: Timestamp) -> (Peak, Peak) {
        let peak = |peaks: &Peaks| Peak { since_scrape: peaks.since_scrape(), window: peaks.in_window(now) };
        (peak(&self.accept), peak(&self.syn))
    }
}
