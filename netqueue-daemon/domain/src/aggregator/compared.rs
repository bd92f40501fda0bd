//! Which namespaces there are, and what the kernel counted in each beside what is attributed.

use std::collections::BTreeMap;

use super::Aggregator;
use crate::{Bracket, Farewell, NamespaceBalance, NamespaceNews, Netns, PerCounter, Timestamp};

/// Of a namespace whose counters at attach nobody knows.
const UNSEEN: &str = "it was there when netqueue attached, and ended before it was found";

impl Aggregator {
    /// Takes the state from which a namespace's counters are compared; see [`Reconciler::set_baseline`].
    pub fn set_baseline(&mut self, netns: Netns, bracket: &Bracket) {
        self.reconciler.set_baseline(netns, bracket);
    }

    /// Compares a namespace's counters.
    pub fn reconcile(&mut self, netns: Netns, bracket: &Bracket, now: Timestamp) {
        self.namespaces.know(netns, now);
        let balance = self.reconciler.compare(netns, bracket, now);
        self.namespaces.compared(balance);
    }

    /// A namespace's balance as compared last.
    #[must_use]
    pub fn balance(&self, netns: Netns) -> Option<&NamespaceBalance> {
        self.namespaces.balance(netns)
    }

    /// Why a namespace is not compared, where a reason was told.
    #[must_use]
    pub fn why_not_compared(&self, netns: Netns) -> Option<&str> {
        self.namespaces.why_not(netns)
    }

    /// Namespaces that are known and may end.
    pub fn living_namespaces(&self) -> impl Iterator<Item = Netns> + '_ {
        self.namespaces.living()
    }

    pub(super) fn hear(&mut self, news: NamespaceNews, now: Timestamp) {
        let NamespaceNews { found, farewells, ended, not_compared, search } = news;
        found.into_iter().for_each(|(netns, name)| self.namespaces.found(netns, name, now));
        farewells.iter().for_each(|(farewell, charged)| self.take_leave(farewell, *charged, now));
        ended.into_iter().for_each(|netns| self.namespaces.end(netns, now));
        not_compared.into_iter().for_each(|(netns, why)| self.namespaces.not_compared(netns, &why));
        self.search = search.unwrap_or(self.search);
    }

    /// A namespace ended, having been charged with this altogether: its last comparison. One in which nothing was ever
    /// counted, and which was not found either, leaves no trace.
    fn take_leave(&mut self, farewell: &Farewell, charged: PerCounter<u64>, now: Timestamp) {
        let Farewell { netns, kernel } = *farewell;
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

    /// Whether this namespace's sums are kept apart: it was charged or found, and is not long over.
    #[must_use]
    pub fn remembers(&self, netns: Netns) -> bool {
        self.namespaces.knows(netns)
    }

    /// What is attributed to each namespace.
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
