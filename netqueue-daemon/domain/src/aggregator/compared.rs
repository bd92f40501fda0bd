//! Network namespaces, and the comparison of their kernel counters with what is attributed.

use std::collections::BTreeMap;

use super::Aggregator;
use crate::{Bracket, NamespaceBalance, NamespaceNews, Netns, NetnsFinal, PerCounter, Timestamp};

/// Reason reported for a namespace whose counters at attach were never read.
const UNSEEN: &str = "it was there when netqueue attached, and ended before it was found";

impl Aggregator {
    /// Records the counters from which a namespace is compared. See
    /// [`Reconciler::set_baseline`](crate::Reconciler::set_baseline).
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) {
        self.reconciler.set_baseline(netns, bracket);
    }

    /// Compares a namespace's kernel counters with what is attributed to it.
    pub fn reconcile(&mut self, netns: Netns, bracket: &Bracket, now: Timestamp) {
        self.namespaces.know(netns, now);
        let balance = self.reconciler.compare(netns, bracket, now);
        self.namespaces.compared(balance);
    }

    /// Returns a namespace's most recent comparison.
    #[must_use]
    pub fn balance(&self, netns: Netns) -> Option<&NamespaceBalance> {
        self.namespaces.balance(netns)
    }

    /// Returns the reason why a namespace is not compared, if one was reported.
    #[must_use]
    pub fn why_not_compared(&self, netns: Netns) -> Option<&str> {
        self.namespaces.why_not(netns)
    }

    /// Iterates over the namespaces that may still end, which the host's cannot.
    pub fn living_namespaces(&self) -> impl Iterator<Item = Netns> + '_ {
        self.namespaces.living()
    }

    pub(super) fn hear(&mut self, news: NamespaceNews, now: Timestamp) {
        let NamespaceNews { found, finals, ended, not_compared, search } = news;
        found.into_iter().for_each(|(netns, name)| self.namespaces.found(netns, name, now));
        finals.iter().for_each(|(last, charged)| self.end_netns(last, *charged, now));
        ended.into_iter().for_each(|netns| self.namespaces.end(netns, now));
        not_compared.into_iter().for_each(|(netns, why)| self.namespaces.not_compared(netns, &why));
        self.search = search.unwrap_or(self.search);
    }

    /// Takes in a namespace's final counters as its last comparison; `charged` is its attributed total. A
    /// namespace in which nothing was ever counted, and which was not found either, leaves no trace.
    fn end_netns(&mut self, last: &NetnsFinal, charged: PerCounter<u64>, now: Timestamp) {
        let NetnsFinal { netns, kernel } = *last;
        if netns.generation > 0 && kernel != PerCounter::default() {
            self.namespaces.know(netns, now);
        }
        if netns.generation == 0 && !self.reconciler.knows(netns) {
            self.namespaces.not_compared(netns, UNSEEN);
        } else if self.namespaces.knows(netns) {
            let balance = self.reconciler.compare(netns, &Bracket::still(kernel, charged), now);
            self.namespaces.compared(NamespaceBalance { last: true, ..balance });
        }
        self.reconciler.forget(netns);
    }

    /// Returns whether the namespace has sums of its own: charged or found, and not merged since.
    #[must_use]
    pub fn remembers(&self, netns: Netns) -> bool {
        self.namespaces.knows(netns)
    }

    /// Sums the charges of each namespace's accounts.
    pub(super) fn charged(&self) -> BTreeMap<Netns, PerCounter<u64>> {
        let mut sums: BTreeMap<Netns, PerCounter<u64>> = BTreeMap::new();
        let none = PerCounter::default();
        // Most listeners were never charged.
        for account in self.accounts.iter().filter(|account| *account.counts.kernel() != none) {
            let sum = sums.entry(account.key.netns()).or_default();
            *sum = PerCounter::from_fn(|counter| sum.get(counter) + account.counts.kernel().get(counter));
        }
        sums
    }
}
