//! Reads the exact counts, and the kernel side's own tallies, from mapped memory.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use netqueue_common::{CounterId, CounterRow, SlotMeta, Tallies, Tally};
use netqueue_domain::{
    AccountKey, Counts, DroppedAckCacheUse, EventFlow, Handshakes, KernelCounter, LossReason, Netns,
    PerCounter, SocketInode, Timestamp, Unreported,
};

use super::{control::SlotRef, decode, mapped::Mapped};

/// The kernel side's counts.
pub struct Counters {
    accounts: Mapped<SlotMeta>,
    rows: Mapped<CounterRow>,
    tallies: Mapped<Tallies>,
    /// Rows per slot.
    of_slot: usize,
    /// State of each slot, as of the last reading; `None` for a free one.
    slots: Vec<Option<Slot>>,
    /// Counts of slots that were freed, summed by namespace.
    settled: BTreeMap<Netns, Counts>,
    /// Drops and resets in `other` buckets: as of the last reading, and of buckets that were freed.
    folded: [u64; 2],
    dropped_ack_cache: DroppedAckCacheUse,
    /// Values of the tallies when everything was attached.
    at_attach: [u64; Tally::COUNT],
    /// Value of [`Tally::CallerHidden`] when [`Self::owes`] last read it.
    hidden: u64,
    /// Countdown of the readings that still settle deferred charges.
    owing: u8,
}

/// A slot in use.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) slot_ref: SlotRef,
    /// Owner of the slot; `None` where its key does not decode: a defect of netqueue.
    pub(super) owner: Option<AccountKey>,
    pub(super) retired: bool,
    /// Time since boot at which its listener was closed.
    closed: Option<Duration>,
    /// Sum of all its cells.
    total: u64,
    /// Time at which [`Self::total`] was last seen to change.
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
    /// Accounts and their counts, without slots that were freed.
    ///
    /// One account appears twice while one of its slots is being freed and it has another already.
    pub accounts: Vec<(AccountKey, Counts)>,
    /// Sockets of listeners whose slots are read for the first time.
    pub sockets: Vec<(AccountKey, SocketInode)>,
    /// Accounts whose listener is closed, and the time of its end.
    pub closed: Vec<(AccountKey, Timestamp)>,
    /// Number of slots whose key does not decode: a defect of netqueue.
    pub undecodable: u64,
    settled: BTreeMap<Netns, Counts>,
}

impl Counters {
    pub(super) fn new(
        accounts: Mapped<SlotMeta>,
        rows: Mapped<CounterRow>,
        tallies: Mapped<Tallies>,
        of_slot: usize,
        dropped_ack_cache: DroppedAckCacheUse,
    ) -> Self {
        let slots = vec![None; accounts.len()];
        Self {
            accounts,
            rows,
            tallies,
            of_slot,
            slots,
            settled: BTreeMap::new(),
            folded: [0; 2],
            dropped_ack_cache,
            at_attach: [0; Tally::COUNT],
            hidden: 0,
            owing: 0,
        }
    }

    /// Starts the tallies at zero, once everything is attached.
    ///
    /// Calls missed earlier lose nothing, since counts are compared with the kernel's only from later on.
    pub(super) fn begin_tallies(&mut self) {
        self.at_attach = self.raw_tallies();
    }

    /// Returns whether hidden callers may have left charges to settle.
    ///
    /// True for three readings after the tally has moved: the kernel raises the counter a moment after the
    /// call, so that a first attempt may come too early.
    pub(super) fn owes(&mut self) -> bool {
        const READINGS: u8 = 4;
        let hidden = self.tallies()[Tally::CallerHidden as usize];
        if std::mem::replace(&mut self.hidden, hidden) != hidden {
            self.owing = READINGS;
        }
        self.owing = self.owing.saturating_sub(1);
        self.owing > 0
    }

    /// Number of possible CPUs.
    pub(super) fn cpus(&self) -> u32 {
        u32::try_from(self.tallies.len()).unwrap_or(u32::MAX)
    }

    /// Reads every account's counts.
    ///
    /// `epoch` is the wall-clock time at which CLOCK_MONOTONIC, which stamps the ends of listeners, was zero.
    pub fn read(&mut self, epoch: Timestamp) -> Reading {
        let tallies = self.tallies();
        let tally = |tally: Tally| tallies[tally as usize];
        self.dropped_ack_cache =
            self.dropped_ack_cache.seen(tally(Tally::DroppedAcksEntered), tally(Tally::DroppedAcksStruck));
        self.folded[0] = 0;
        let mut reading = Reading { settled: self.settled.clone(), ..Reading::default() };
        for index in 0..self.accounts.len() {
            let known = self.slots[index].map(|slot| slot.slot_ref);
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
            if known != Some(slot.slot_ref) {
                let inode = self.accounts.get(index).inode;
                reading.sockets.extend((inode != 0).then_some((owner, SocketInode(inode))));
            }
            let counts = counts(&cells);
            self.folded[0] += folded(&owner, &counts);
            reading.accounts.push((owner, counts));
            reading.closed.extend(slot.closed.map(|closed| (owner, epoch.after(closed))));
        }
        reading
    }

    /// Lists the slots that are in use at this moment.
    pub(super) fn used(&self) -> impl Iterator<Item = u32> {
        let used = |slot: &u32| self.state(*slot as usize).is_some_and(|(_, state)| state == SlotMeta::USED);
        (0..u32::try_from(self.accounts.len()).unwrap_or(u32::MAX)).filter(used)
    }

    /// Lists the slots in use as of the last reading.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Takes the last reading of a slot whose counts are final, and adds it to its namespace's sums.
    ///
    /// From then on the slot has no owner here.
    pub(super) fn settle(&mut self, slot_ref: SlotRef) -> Option<(AccountKey, Counts)> {
        let index = slot_ref.slot as usize;
        let slot = self.slots.get_mut(index)?.take_if(|slot| slot.slot_ref == slot_ref)?;
        let counts = counts(&self.cells(index));
        let owner = slot.owner?;
        let folded = folded(&owner, &counts);
        self.folded = [self.folded[0].saturating_sub(folded), self.folded[1] + folded];
        self.settled.entry(owner.netns()).or_default().add(&counts);
        Some((owner, counts))
    }

    /// Drops the sums of namespaces for which `asked` is false.
    pub fn keep(&mut self, asked: impl Fn(Netns) -> bool) {
        self.settled.retain(|netns, _| asked(*netns));
    }

    /// Returns the kernel side's tallies, and the drops and resets folded into `other` at the last reading.
    #[must_use]
    pub fn flow(&self) -> EventFlow {
        let values = self.tallies();
        let value = |tally: Tally| values[tally as usize];
        EventFlow {
            seen: value(Tally::EventsSeen),
            submitted: value(Tally::EventsSubmitted),
            suppressed: value(Tally::EventsSuppressed),
            folded: self.folded.iter().sum(),
            netns_untracked: value(Tally::NetnsUntracked),
            netns_final_counters_lost: value(Tally::NetnsFinalsLost),
            listens_lost: value(Tally::ListensLost),
            lost: LossReason::ALL.map(|reason| match reason {
                LossReason::RingFull => value(Tally::EventsRingFull),
                LossReason::Unreadable => value(Tally::Unreadable),
                LossReason::EntryMissed => value(Tally::EntryMissed),
                LossReason::ReturnMissed => value(Tally::ReturnMissed),
                LossReason::WrongFrame => value(Tally::WrongFrame),
                LossReason::MapFull => value(Tally::ChargesLost),
                LossReason::QueuedForgotten => value(Tally::QueuedForgotten),
                LossReason::BaselinesFull => value(Tally::BaselinesFull),
                LossReason::MovedElsewhere => value(Tally::MovedElsewhere),
                LossReason::CallerHidden => value(Tally::CallerHidden),
                LossReason::Undecodable => 0,
            }),
        }
    }

    /// Returns the use of the dropped-ACK cache, as of the last reading.
    pub(super) const fn dropped_ack_cache(&self) -> DroppedAckCacheUse {
        self.dropped_ack_cache
    }

    fn tallies(&self) -> [u64; Tally::COUNT] {
        let mut values = self.raw_tallies();
        values
            .iter_mut()
            .zip(self.at_attach)
            .for_each(|(value, before)| *value = value.saturating_sub(before));
        values
    }

    fn raw_tallies(&self) -> [u64; Tally::COUNT] {
        let mut values = [0; Tally::COUNT];
        for cpu in 0..self.tallies.len() {
            add(&mut values, self.tallies.words(cpu, 0..Tally::COUNT));
        }
        values
    }

    /// Reads the slot's current owner and state; `None` if it is free or settled.
    fn look(&mut self, index: usize) -> Option<Slot> {
        let closed = self.accounts.words(index, WORDS - 2..WORDS - 1).next()?;
        let (generation, state) = self.state(index)?;
        if state == SlotMeta::FREE {
            self.slots[index] = None;
            return None;
        }
        let slot_ref = SlotRef { slot: u32::try_from(index).ok()?, generation };
        let closed = (closed != 0).then(|| Duration::from_nanos(closed));
        let retired = state == SlotMeta::RETIRED;
        if let Some(known) = self.slots[index]
            && known.slot_ref == slot_ref
        {
            return Some(Slot { closed, retired, ..known });
        }
        // A slot is retired while it is known, so this one was settled and could not be released yet: its
        // counts are part of the sums.
        if retired {
            return None;
        }
        let owner = decode::account(&self.accounts.get(index).key, slot_ref.slot, generation);
        Some(Slot { slot_ref, owner, retired, closed, total: 0, moved: Instant::now() })
    }

    /// Reads a slot's generation and state.
    fn state(&self, index: usize) -> Option<(u32, u32)> {
        let [generation, state] = halves(self.accounts.words(index, WORDS - 1..WORDS).next()?);
        Some((generation, state))
    }

    fn cells(&self, slot: usize) -> [u64; CounterId::COUNT] {
        let mut cells = [0; CounterId::COUNT];
        for row in 0..self.of_slot {
            add(&mut cells, self.rows.words(slot * self.of_slot + row, 0..CounterId::COUNT));
        }
        cells
    }
}

/// Words of an account: the last two are the time of its end, and generation and state together.
const WORDS: usize = size_of::<SlotMeta>() / 8;

/// Drops and resets among these counts if the owner is an `other` bucket, else 0.
fn folded(owner: &AccountKey, counts: &Counts) -> u64 {
    if matches!(owner, AccountKey::Other(_)) { counts.drop_total() + counts.reset_total() } else { 0 }
}

/// Splits a word into its two `u32`, in the order of their addresses.
pub(super) fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn add(sums: &mut [u64], row: impl Iterator<Item = u64>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

impl Reading {
    /// Sums the charges of each namespace's accounts, including those whose slots were freed.
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

pub(super) fn counts(cells: &[u64; CounterId::COUNT]) -> Counts {
    Counts::from_fn(
        |kind| cells[decode::cell_of_drop(kind) as usize],
        |cause| cells[decode::cell_of_reset(cause) as usize],
        |counter| {
            let cell = match counter {
                KernelCounter::ListenOverflows => CounterId::ListenOverflows,
                KernelCounter::ListenDrops => CounterId::ListenDrops,
                KernelCounter::ReqQFullDrop => CounterId::ReqQFullDrop,
                KernelCounter::ReqQFullDoCookies => CounterId::ReqQFullDoCookies,
                KernelCounter::SyncookiesSent => CounterId::SyncookiesSent,
                KernelCounter::SyncookiesRecv => CounterId::SyncookiesReceived,
                KernelCounter::SyncookiesFailed => CounterId::SyncookiesFailed,
                KernelCounter::EmbryonicRsts => CounterId::EmbryonicRsts,
                KernelCounter::OutRsts => CounterId::OutRsts,
            };
            cells[cell as usize]
        },
    )
    .with_unreported(Unreported {
        suppressed: cells[CounterId::EventsSuppressed as usize],
        lost: cells[CounterId::EventsLost as usize],
    })
    .with_helper_overflows(cells[CounterId::CookieHelperOverflows as usize])
    .with_handshakes(Handshakes {
        suspended: cells[CounterId::HandshakesSuspended as usize],
        recovered: cells[CounterId::HandshakesRecovered as usize],
        ended: cells[CounterId::HandshakesEnded as usize],
        given_up: cells[CounterId::HandshakesGivenUp as usize],
        timed_out: cells[CounterId::HandshakesTimedOut as usize],
        expired: cells[CounterId::HandshakesExpired as usize],
        ghosts: cells[CounterId::Ghosts as usize],
        ghosts_recovered: cells[CounterId::GhostsRecovered as usize],
        ghosts_ended: cells[CounterId::GhostsEnded as usize],
        ghosts_given_up: cells[CounterId::GhostsGivenUp as usize],
    })
}
