//! Reads the exact counts, and what the kernel side says about itself, from mapped memory.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use netqueue_common::{Account, Cell, Counts as Row, Tallies, Tally};

use super::{decode, keeper::Tenure, mapped::Mapped, ring::monotonic_epoch};
use crate::domain::{
    AccountKey, Counts, EventFlow, Handshakes, KernelCounter, LedgerUse, LossReason, Netns, PerCounter,
    SocketInode, Timestamp, Untold,
};

/// The kernel side's counts.
pub struct Counters {
    accounts: Mapped<Account>,
    rows: Mapped<Row>,
    tallies: Mapped<Tallies>,
    cpus: usize,
    /// What is known of each slot.
    slots: Vec<Option<Slot>>,
    /// What slots that were given back had counted, by namespace.
    settled: BTreeMap<Netns, Counts>,
    ledger: LedgerUse,
}

/// A slot that is somebody's.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) tenure: Tenure,
    /// `None` where it could not be understood: a defect of netqueue.
    pub(super) owner: Option<AccountKey>,
    pub(super) retired: bool,
    /// When its listener was closed, since boot.
    closed: Option<Duration>,
    /// All its cells together.
    total: u64,
    /// When they last moved, as far as was seen.
    pub(super) moved: Instant,
}

impl Slot {
    pub(super) const fn is_closed(&self) -> bool {
        self.closed.is_some()
    }
}

/// Every account's counts since attach, at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    /// Accounts and their counts. One account may be there twice: while a slot of its is being given back and it has
    /// another already. Slots that were given back are not in it.
    pub accounts: Vec<(AccountKey, Counts)>,
    /// The sockets of listeners whose slots are read for the first time.
    pub sockets: Vec<(AccountKey, SocketInode)>,
    /// Those whose listener is closed, and since when.
    pub closed: Vec<(AccountKey, Timestamp)>,
    /// Slots whose owner could not be understood: a defect of netqueue.
    pub undecodable: u64,
    settled: BTreeMap<Netns, Counts>,
}

impl Counters {
    pub(super) fn new(
        accounts: Mapped<Account>,
        rows: Mapped<Row>,
        tallies: Mapped<Tallies>,
        cpus: usize,
        ledger: LedgerUse,
    ) -> Self {
        let slots = vec![None; accounts.len()];
        Self { accounts, rows, tallies, cpus, slots, settled: BTreeMap::new(), ledger }
    }

    /// Every account's counts.
    pub fn read(&mut self) -> Reading {
        let tallies = self.tallies();
        let tally = |tally: Tally| tallies[tally as usize];
        self.ledger = self.ledger.seen(tally(Tally::LedgerEntered), tally(Tally::LedgerStruck));
        let epoch = monotonic_epoch();
        let mut reading = Reading { settled: self.settled.clone(), ..Reading::default() };
        for index in 0..self.accounts.len() {
            let known = self.slots[index].map(|slot| slot.tenure);
            let Some(mut slot) = self.look(index) else { continue };
            let cells = self.cells(index);
            let total = cells.iter().sum();
            if total != slot.total {
                (slot.total, slot.moved) = (total, Instant::now());
            }
            self.slots[index] = Some(slot);
            let Some(owner) = slot.owner else {
                reading.undecodable += 1;
                continue;
            };
            if known != Some(slot.tenure) {
                let inode = self.accounts.get(index).inode;
                reading.sockets.extend((inode != 0).then_some((owner, SocketInode(inode))));
            }
            reading.accounts.push((owner, counts(&cells)));
            reading.closed.extend(slot.closed.map(|closed| (owner, epoch.after(closed))));
        }
        reading
    }

    /// Every slot that is somebody's, as of the last reading.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Takes the last reading of a slot whose counts are final: from now on they are in the sums of its namespace, and the
    /// slot is nobody's.
    pub(super) fn settle(&mut self, tenure: Tenure) -> Option<(AccountKey, Counts)> {
        let index = tenure.slot as usize;
        let slot = self.slots.get_mut(index)?.take_if(|slot| slot.tenure == tenure)?;
        let counts = counts(&self.cells(index));
        let owner = slot.owner?;
        self.settled.entry(owner.netns()).or_default().add(&counts);
        Some((owner, counts))
    }

    /// Forgets what was counted in namespaces that nobody asks for any more.
    pub fn keep(&mut self, asked: impl Fn(Netns) -> bool) {
        self.settled.retain(|netns, _| asked(*netns));
    }

    /// The kernel side's own tallies.
    #[must_use]
    pub fn flow(&self) -> EventFlow {
        let values = self.tallies();
        let value = |tally: Tally| values[tally as usize];
        EventFlow {
            seen: value(Tally::EventsSeen),
            submitted: value(Tally::EventsSubmitted),
            suppressed: value(Tally::EventsSuppressed),
            folded: value(Tally::ChargesFolded),
            namespaces_untold: value(Tally::NamespacesUntold),
            farewells_lost: value(Tally::FarewellsLost),
            listens_lost: value(Tally::ListensLost),
            lost: LossReason::ALL.map(|reason| match reason {
                LossReason::RingFull => value(Tally::EventsRingFull),
                LossReason::Unreadable => value(Tally::Unreadable),
                LossReason::EntryMissed => value(Tally::EntryMissed),
                LossReason::ReturnMissed => value(Tally::ReturnMissed),
                LossReason::WrongFrame => value(Tally::WrongFrame),
                LossReason::MapFull => value(Tally::ChargesLost),
                LossReason::QueuedForgotten => value(Tally::QueuedForgotten),
                LossReason::Undecodable => 0,
            }),
        }
    }

    /// The ledger of handshakes, as of the last reading.
    pub(super) const fn ledger(&self) -> LedgerUse {
        self.ledger
    }

    fn tallies(&self) -> [u64; Tally::COUNT] {
        let mut values = [0; Tally::COUNT];
        for cpu in 0..self.tallies.len() {
            add(&mut values, self.tallies.words(cpu, 0..Tally::COUNT));
        }
        values
    }

    /// Whose the slot is now.
    fn look(&mut self, index: usize) -> Option<Slot> {
        /// The last two words: when it was closed, and generation and state together.
        const WORDS: usize = size_of::<Account>() / 8;
        let mut words = self.accounts.words(index, WORDS - 2..WORDS);
        let (closed, last) = (words.next()?, words.next()?);
        drop(words);
        let [generation, state] = halves(last);
        if state == Account::FREE {
            self.slots[index] = None;
            return None;
        }
        let tenure = Tenure { slot: u32::try_from(index).ok()?, generation };
        let closed = (closed != 0).then(|| Duration::from_nanos(closed));
        let retired = state == Account::RETIRED;
        if let Some(known) = self.slots[index]
            && known.tenure == tenure
        {
            return Some(Slot { closed, retired, ..known });
        }
        let owner = decode::account(&self.accounts.get(index).key, tenure.slot, generation);
        Some(Slot { tenure, owner, retired, closed, total: 0, moved: Instant::now() })
    }

    fn cells(&self, slot: usize) -> [u64; Cell::COUNT] {
        let mut cells = [0; Cell::COUNT];
        for cpu in 0..self.cpus {
            add(&mut cells, self.rows.words(slot * self.cpus + cpu, 0..Cell::COUNT));
        }
        cells
    }
}

/// The two `u32` of one word, in the order of their addresses.
pub(super) fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn add(sums: &mut [u64], row: impl Iterator<Item = u64>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

impl Reading {
    /// What the accounts of each namespace were charged together, those whose slots were given back included.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<Netns, PerCounter<u64>> {
        let mut sums: BTreeMap<_, _> =
            self.settled.iter().map(|(netns, counts)| (*netns, *counts.kernel())).collect();
        for (key, counts) in &self.accounts {
            let sum: &mut PerCounter<u64> = sums.entry(key.netns()).or_default();
            *sum = PerCounter::from_fn(|counter| sum.get(counter) + counts.kernel().get(counter));
        }
        sums
    }
}

pub(super) fn counts(cells: &[u64; Cell::COUNT]) -> Counts {
    Counts::from_fn(
        |kind| cells[decode::cell_of_drop(kind) as usize],
        |cause| cells[decode::cell_of_reset(cause) as usize],
        |counter| {
            let cell = match counter {
                KernelCounter::ListenOverflows => Cell::ListenOverflows,
                KernelCounter::ListenDrops => Cell::ListenDrops,
                KernelCounter::ReqQFullDrop => Cell::ReqQFullDrop,
                KernelCounter::ReqQFullDoCookies => Cell::ReqQFullDoCookies,
                KernelCounter::SyncookiesSent => Cell::SyncookiesSent,
                KernelCounter::SyncookiesRecv => Cell::SyncookiesReceived,
                KernelCounter::SyncookiesFailed => Cell::SyncookiesFailed,
                KernelCounter::EmbryonicRsts => Cell::EmbryonicRsts,
                KernelCounter::OutRsts => Cell::OutRsts,
            };
            cells[cell as usize]
        },
    )
    .with_untold(Untold {
        suppressed: cells[Cell::EventsSuppressed as usize],
        lost: cells[Cell::EventsLost as usize],
    })
    .with_handshakes(Handshakes {
        suspended: cells[Cell::HandshakesSuspended as usize],
        recovered: cells[Cell::HandshakesRecovered as usize],
        ended: cells[Cell::HandshakesEnded as usize],
        given_up: cells[Cell::HandshakesGivenUp as usize],
        timed_out: cells[Cell::HandshakesTimedOut as usize],
        expired: cells[Cell::HandshakesExpired as usize],
        ghosts: cells[Cell::Ghosts as usize],
        ghosts_recovered: cells[Cell::GhostsRecovered as usize],
        ghosts_ended: cells[Cell::GhostsEnded as usize],
        ghosts_given_up: cells[Cell::GhostsGivenUp as usize],
    })
}
