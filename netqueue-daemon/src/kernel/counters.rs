//! Reads the exact counts, and what the kernel side says about itself.

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap};
use netqueue_common::{Cell, Counts as Cells, ListenerKey, Tally};

use super::decode;
use crate::domain::{AccountKey, Counts, EventFlow, KernelCounter, LossReason, Netns, PerCounter};

type CountsMap = PerCpuHashMap<MapData, ListenerKey, Cells>;

/// The maps of counts.
pub struct Counters {
    maps: [CountsMap; 3],
    tallies: PerCpuArray<MapData, u64>,
}

/// Every account's counts at one moment, and how many keys could not be understood.
#[derive(Debug, Default)]
pub struct Reading {
    /// Accounts and their counts since attach.
    pub accounts: Vec<(AccountKey, Counts)>,
    /// Keys that are not a key: a defect of netqueue.
    pub undecodable: u64,
}

impl Counters {
    pub(super) const fn new(
        listeners: CountsMap,
        endpoints: CountsMap,
        others: CountsMap,
        tallies: PerCpuArray<MapData, u64>,
    ) -> Self {
        Self { maps: [listeners, endpoints, others], tallies }
    }

    /// Every account's counts.
    ///
    /// # Errors
    /// The kernel refused to read a map.
    pub fn read(&self) -> Result<Reading, MapError> {
        let mut reading = Reading::default();
        for map in &self.maps {
            for entry in map.iter() {
                let (key, per_cpu) = entry?;
                let cells =
                    Cell::ALL.map(|cell| per_cpu.iter().map(|counts| counts.cells[cell as usize]).sum());
                match decode::account(&key) {
                    Some(account) => reading.accounts.push((account, counts(&cells))),
                    None => reading.undecodable += 1,
                }
            }
        }
        Ok(reading)
    }

    /// The kernel side's own tallies.
    ///
    /// # Errors
    /// The kernel refused to read the map.
    pub fn flow(&self) -> Result<EventFlow, MapError> {
        let mut values = [0; Tally::COUNT];
        for tally in Tally::ALL {
            values[tally as usize] = self.tallies.get(&(tally as u32), 0)?.iter().sum();
        }
        let value = |tally: Tally| values[tally as usize];
        Ok(EventFlow {
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
        })
    }
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
                KernelCounter::EmbryonicRsts => Cell::EmbryonicRsts,
                KernelCounter::OutRsts => Cell::OutRsts,
            };
            cells[cell as usize]
        },
    )
}
