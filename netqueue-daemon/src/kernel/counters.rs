//! Reads the exact counts, and what the kernel side says about itself, from mapped memory.

use std::collections::HashMap;

use netqueue_common::{Account, Cell, Counts as Row, Tallies, Tally};

use super::{decode, mapped::Mapped};
use crate::domain::{
    AccountKey, Counts, EventFlow, Handshakes, KernelCounter, LossReason, Netns, PerCounter, SocketInode,
};

/// The kernel side's counts.
pub struct Counters {
    accounts: Mapped<Account>,
    rows: Mapped<Row>,
    tallies: Mapped<Tallies>,
    cpus: usize,
    /// Slots whose owner was read: an owner never changes.
    owners: HashMap<usize, AccountKey>,
}

/// Every account's counts since attach, at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    /// Accounts and their counts.
    pub accounts: Vec<(AccountKey, Counts)>,
    /// The sockets of listeners whose slots are read for the first time.
    pub sockets: Vec<(AccountKey, SocketInode)>,
    /// Slots whose owner could not be understood: a defect of netqueue.
    pub undecodable: u64,
}

impl Counters {
    pub(super) fn new(
        accounts: Mapped<Account>,
        rows: Mapped<Row>,
        tallies: Mapped<Tallies>,
        cpus: usize,
    ) -> Self {
        Self { accounts, rows, tallies, cpus, owners: HashMap::new() }
    }

    /// Every account's counts.
    pub fn read(&mut self) -> Reading {
        let mut reading = Reading::default();
        for slot in 0..self.accounts.len() {
            match self.owner(slot, &mut reading.sockets) {
                Owner::None => {}
                Owner::Known(account) => reading.accounts.push((account, self.counts(slot))),
                Owner::Undecodable => reading.undecodable += 1,
            }
        }
        reading
    }

    /// The kernel side's own tallies.
    #[must_use]
    pub fn flow(&self) -> EventFlow {
        let mut values = [0; Tally::COUNT];
        for cpu in 0..self.tallies.len() {
            add(&mut values, self.tallies.words(cpu, 0..Tally::COUNT));
        }
        let value = |tally: Tally| values[tally as usize];
        EventFlow {
            seen: value(Tally::EventsSeen),
            submitted: value(Tally::EventsSubmitted),
            folded: value(Tally::ChargesFolded),
            lost: LossReason::ALL.map(|reason| match reason {
                LossReason::RingFull => value(Tally::EventsRingFull),
                LossReason::Unreadable => value(Tally::Unreadable),
                LossReason::EntryMissed => value(Tally::EntryMissed),
                LossReason::ReturnMissed => value(Tally::ReturnMissed),
                LossReason::WrongFrame => value(Tally::WrongFrame),
                LossReason::MapFull => value(Tally::ChargesLost),
                LossReason::Undecodable => 0,
            }),
        }
    }

    fn owner(&mut self, slot: usize, sockets: &mut Vec<(AccountKey, SocketInode)>) -> Owner {
        if let Some(account) = self.owners.get(&slot) {
            return Owner::Known(*account);
        }
        const USED: usize = size_of::<Account>() / 8 - 1;
        if self.accounts.words(slot, USED..USED + 1).all(|used| used == 0) {
            return Owner::None;
        }
        let owner = self.accounts.get(slot);
        match decode::account(&owner.key, u32::try_from(slot).unwrap_or(u32::MAX)) {
            Some(account) => {
                self.owners.insert(slot, account);
                sockets.extend((owner.inode != 0).then_some((account, SocketInode(owner.inode))));
                Owner::Known(account)
            }
            None => Owner::Undecodable,
        }
    }

    fn counts(&self, slot: usize) -> Counts {
        let mut cells = [0; Cell::COUNT];
        for cpu in 0..self.cpus {
            add(&mut cells, self.rows.words(slot * self.cpus + cpu, 0..Cell::COUNT));
        }
        counts(&cells)
    }
}

enum Owner {
    None,
    Known(AccountKey),
    Undecodable,
}

fn add(sums: &mut [u64], row: impl Iterator<Item = u64>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

impl Reading {
    /// What the accounts of one namespace were charged together.
    #[must_use]
    pub fn sum(&self, netns: Netns) -> PerCounter<u64> {
        let mut sum = Counts::default();
        self.accounts.iter().filter(|(key, _)| key.netns() == netns).for_each(|(_, counts)| sum.add(counts));
        *sum.kernel()
    }
}

fn counts(cells: &[u64; Cell::COUNT]) -> Counts {
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
    .with_handshakes(Handshakes {
        suspended: cells[Cell::HandshakesSuspended as usize],
        recovered: cells[Cell::HandshakesRecovered as usize],
        ended: cells[Cell::HandshakesEnded as usize],
        expired: cells[Cell::HandshakesExpired as usize],
        ghosts: cells[Cell::Ghosts as usize],
        ghosts_recovered: cells[Cell::GhostsRecovered as usize],
        ghosts_ended: cells[Cell::GhostsEnded as usize],
    })
}
