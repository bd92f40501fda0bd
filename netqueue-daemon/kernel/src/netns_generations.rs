//! Reads the generations of inode numbers, and the final counters of network namespaces that ended.
//!
//! The kernel gives the number of a dead namespace to the next one; the generation distinguishes them.

use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use netqueue_common::{CounterId, GenerationRow, NetnsFinalRecord};
use netqueue_domain::{Netns, NetnsFinal};
use zerocopy::FromBytes;

use super::{counters, decode, mapped::Mapped};

/// Generations of inode numbers, in mapped memory.
pub struct NetnsGenerations {
    lives: Mapped<GenerationRow>,
    /// True if the kernel side sees a number become free.
    told: bool,
}

impl NetnsGenerations {
    pub(super) const fn new(lives: Mapped<GenerationRow>, told: bool) -> Self {
        Self { lives, told }
    }

    /// Returns the namespace that has the number now, or had it last.
    ///
    /// For a number without generations, always the same one.
    #[must_use]
    pub fn now(&self, inode: u32) -> Netns {
        Netns { inode, generation: self.generation(inode).unwrap_or(0) }
    }

    /// Returns [`Self::now`] as a function.
    #[must_use]
    pub fn generation_of(self: &Arc<Self>) -> Arc<dyn Fn(u32) -> Netns + Send + Sync> {
        let numbers = Arc::clone(self);
        Arc::new(move |inode| numbers.now(inode))
    }

    /// Returns whether namespaces that have this number one after another are distinguished.
    #[must_use]
    pub fn tells(&self, inode: u32) -> bool {
        self.told && (GenerationRow::position(inode).is_none() || self.generation(inode).is_some())
    }

    fn generation(&self, inode: u32) -> Option<u32> {
        let (element, place) = GenerationRow::position(inode)?;
        let (element, place) = (usize::try_from(element).ok()?, usize::try_from(place).ok()?);
        if element >= self.lives.len() {
            return None;
        }
        let word = self.lives.words(element, place / 2..place / 2 + 1).next()?;
        Some(counters::halves(word)[place % 2])
    }
}

/// The reading end of the ring buffer with the final counters of namespaces.
pub struct NetnsFinals(RingBuf<MapData>);

impl NetnsFinals {
    pub(super) const fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Takes the final counters of the namespaces that ended since the last call.
    pub fn drain(&mut self) -> Vec<NetnsFinal> {
        let mut ended = Vec::new();
        while let Some(record) = self.0.next() {
            // An undecodable record cannot come from this kernel side: the ring contains nothing else.
            ended.extend(NetnsFinalRecord::read_from_bytes(&record).ok().map(|record| last(&record)));
        }
        ended
    }
}

fn last(record: &NetnsFinalRecord) -> NetnsFinal {
    let mut cells = [0; CounterId::COUNT];
    for (cell, value) in NetnsFinalRecord::COUNTERS.into_iter().zip(record.counters) {
        cells[cell as usize] = value;
    }
    NetnsFinal { netns: decode::netns(record.netns), kernel: *counters::counts(&cells).kernel() }
}

#[cfg(test)]
mod tests {
    use netqueue_common::Namespace;

    use super::*;
    use netqueue_domain::KernelCounter;

    #[test]
    fn each_last_count_is_that_of_its_counter() {
        let netns = Namespace { inode: 4_026_532_201, generation: 3 };
        let record = NetnsFinalRecord { netns, counters: [1, 2, 3, 4, 5, 6, 7, 8, 9] };
        let told = last(&record);
        assert_eq!(told.netns, Netns { inode: 4_026_532_201, generation: 3 });
        assert_eq!(KernelCounter::ALL.map(|counter| told.kernel.get(counter)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn numbers_follow_one_another_from_the_first_one_the_kernel_gives_out() {
        assert_eq!(GenerationRow::position(Namespace::FIRST_INODE - 1), None);
        assert_eq!(GenerationRow::position(Namespace::FIRST_INODE), Some((0, 0)));
        assert_eq!(GenerationRow::position(Namespace::FIRST_INODE + 35), Some((2, 3)));
    }
}
