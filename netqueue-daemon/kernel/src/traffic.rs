//! Reads the traffic of listeners from mapped memory, and has their queues sampled.

use std::{collections::BTreeSet, ops::Range};

use netqueue_common::{Control, QueueSample, TrafficRow, Waits};
use netqueue_domain::{Histogram, Queues, Traffic, TrafficReading};

use super::{control::ControlPrograms, decode::queue, mapped::Mapped};

/// The kernel side's traffic, by slot of a listener.
pub(super) struct TrafficRows {
    rows: Mapped<TrafficRow>,
    waits: Mapped<Waits>,
    looks: Mapped<QueueSample>,
    control: Mapped<Control>,
    /// Rows per slot.
    of_slot: usize,
    epoch: u64,
    /// Peaks of each slot at the last reading.
    peaks: Vec<[u64; 2]>,
    /// Number of connections at the last reading that were alone in each slot's queue when they entered it.
    alone: Vec<u64>,
    /// True if the length of queues is observed.
    depth: bool,
}

impl TrafficRows {
    pub(super) fn new(
        rows: Mapped<TrafficRow>,
        waits: Mapped<Waits>,
        looks: Mapped<QueueSample>,
        control: Mapped<Control>,
        of_slot: usize,
        depth: bool,
    ) -> Self {
        let (peaks, alone) = (vec![[0; 2]; waits.len()], vec![0; waits.len()]);
        Self { rows, waits, looks, control, of_slot, epoch: 0, peaks, alone, depth }
    }

    /// Starts a new epoch: the next reading returns the peaks since about now.
    ///
    /// A peak that a program stores meanwhile under the old epoch is part of the next reading.
    pub(super) fn begin_epoch(&mut self) {
        // The epoch is the upper half of a word of peaks.
        self.epoch = (self.epoch + 1) & u64::from(u32::MAX);
        self.control.write(0, 0, self.epoch);
    }

    /// Samples the queues of these slots' listeners.
    pub(super) fn survey(control: ControlPrograms<'_>, slots: impl Iterator<Item = u32>) {
        let batches: BTreeSet<u32> = slots.map(|slot| slot / QueueSample::BATCH).collect();
        batches.into_iter().for_each(|batch| control.survey(batch * QueueSample::BATCH));
    }

    /// Reads a slot's traffic; `None` where it is not a listener's.
    pub(super) fn read(&mut self, slot: u32) -> Option<TrafficReading> {
        let slot = slot as usize;
        let (peaks, before) = (self.peaks.get_mut(slot)?, self.alone.get_mut(slot)?);
        let mut words = [0; WORDS];
        for part in 0..self.of_slot {
            for (index, word) in self.rows.words(slot * self.of_slot + part, 0..WORDS).enumerate() {
                words[index] =
                    if PEAKS.contains(&index) { words[index].max(word) } else { words[index] + word };
            }
        }
        let row: TrafficRow = zerocopy::transmute!(words);
        // A word that has not changed was reported before.
        let length = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        let fresh = row.peaks.iter().zip(peaks.iter()).filter(|(now, before)| now != before);
        let alone = row.depth[0];
        let accept_peak = fresh.map(|(now, _)| length(*now)).max();
        let accept_peak =
            accept_peak.unwrap_or_else(|| u32::from(self.depth && alone != 0 && alone != *before));
        (*peaks, *before) = (row.peaks, alone);
        let mut waits: Vec<u64> = self.waits.words(slot, 0..Waits::WORDS).collect();
        let unmeasured = waits.get(UNMEASURED).copied().unwrap_or(0);
        waits.truncate(UNMEASURED);
        let mut sums = waits.split_off(Waits::BUCKETS);
        waits[0] += row.prompt;
        sums[0] += row.prompt_nanos / 1000;
        let depth = if self.depth {
            Histogram::from_counts(Traffic::DEPTHS, row.depth, alone + row.depth_sum)
        } else {
            Histogram::from_counts(Traffic::DEPTHS, [], 0)
        };
        let counts = Traffic {
            established: row.depth.iter().sum(),
            accepted: waits.iter().sum::<u64>() + unmeasured,
            abandoned: row.abandoned,
            unmeasured,
            synack_retransmits: row.synack_retransmits,
            depth,
            wait: Histogram::from_sums(Traffic::WAITS, waits, sums),
            ..Traffic::default()
        };
        Some(TrafficReading { counts, accept_peak, queues: self.look(slot) })
    }

    fn look(&self, slot: usize) -> Queues {
        match self.looks.get(slot) {
            QueueSample { listening: 1, accept_length, accept_limit, syn_length } => {
                Queues { accept: queue(accept_length, accept_limit), syn: queue(syn_length, accept_limit) }
            }
            _ => Queues::default(),
        }
    }
}

/// Index, among the words of waits, of the number that could not be measured.
const UNMEASURED: usize = std::mem::offset_of!(Waits, unmeasured) / 8;
const WORDS: usize = size_of::<TrafficRow>() / 8;
/// Indices of the peaks among the words of a row.
const PEAKS: Range<usize> = {
    let start = std::mem::offset_of!(TrafficRow, peaks) / 8;
    start..start + 2
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_mean_the_same_buckets() {
        let waits: Vec<u64> =
            Waits::BOUNDS.iter().take(Waits::BUCKETS - 1).map(|bound| u64::from(*bound)).collect();
        assert_eq!(waits, Traffic::WAITS);
        let depths: Vec<u64> = (0..TrafficRow::DEPTHS - 1).map(|bucket| 1 << bucket).collect();
        assert_eq!(depths, Traffic::DEPTHS);
    }

    #[test]
    fn a_row_is_read_as_it_is_written() {
        let mut words = [0_u64; WORDS];
        words[PEAKS.start] = 7;
        let row: TrafficRow = zerocopy::transmute!(words);
        assert_eq!(row.peaks, [7, 0]);
        assert_eq!(size_of::<TrafficRow>() % 64, 0, "two CPUs' rows share no cache line");
    }
}
