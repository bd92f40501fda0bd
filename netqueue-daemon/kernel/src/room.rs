//! Divides the kernel side's memory for accounts among listeners and rows of counts.

use netqueue_common::{CounterRow, QueueSample, SlotMeta, TrafficRow, Waits};

use super::cpus::Cpus;

/// Numbers of slots for listeners, and of rows of counts per slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Number of slots for listeners; endpoints without a listener have as many.
    pub(super) listeners: u32,
    /// Rows per slot, a power of two.
    ///
    /// There is one for each CPU that is present, where memory allows; other CPUs share them.
    pub(super) rows: u32,
}

/// Number of namespaces that can have an `other` bucket.
pub(super) const OTHERS: u32 = 64;

impl Room {
    /// Divides memory for `listeners` if given, else for as many as fit into [`Self::LISTENERS`] bytes.
    ///
    /// The latter are at least 1,024 and at most 4,096.
    ///
    /// A row for each possible CPU would be exact as well, but takes 1 MB each, even for a CPU that is never
    /// plugged in. CPUs that share a row raise its words atomically, and only contend for them.
    pub(super) fn new(listeners: Option<u32>, cpus: Cpus) -> Self {
        let rows = cpus.present.clamp(1, 1 << 16).next_power_of_two();
        let fitting = Self::LISTENERS / (u64::from(rows) * size_of::<CounterRow>() as u64);
        let fitting = || u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1024, 4096);
        let mut room = Self { listeners: listeners.unwrap_or_else(fitting).max(4), rows };
        while room.rows > Self::FEWEST && room.bytes() > Self::MOST {
            room.rows /= 2;
        }
        room
    }

    /// Bytes for the rows of listeners where the number of listeners is not given.
    const LISTENERS: u64 = 8 << 20;
    /// Bytes for everything beyond which CPUs share rows, down to [`Self::FEWEST`].
    const MOST: u64 = 64 << 20;
    /// Rows per slot that remain however much memory they take.
    const FEWEST: u32 = 32;

    /// Number of all slots: of listeners, of endpoints and of `other` buckets.
    pub(super) const fn slots(self) -> u32 {
        self.listeners * 2 + OTHERS
    }

    /// Number of slots that any listener may take, the first ones.
    ///
    /// A quarter is reserved for listeners that drop or reset.
    pub(super) const fn open_to_all(self) -> u32 {
        self.listeners - self.listeners / 4
    }

    /// Bytes that everything takes.
    pub(super) const fn bytes(self) -> u64 {
        let of_slot = size_of::<SlotMeta>() + self.rows as usize * size_of::<CounterRow>();
        let of_listener =
            self.rows as usize * size_of::<TrafficRow>() + size_of::<Waits>() + size_of::<QueueSample>();
        self.slots() as u64 * of_slot as u64 + self.listeners as u64 * of_listener as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(listeners: Option<u32>, present: u32) -> Room {
        Room::new(listeners, Cpus { possible: 512, present })
    }

    #[test]
    fn cpus_that_are_not_there_take_nothing() {
        assert_eq!(room(None, 2), Room { listeners: 4096, rows: 2 });
        assert!(room(None, 2).bytes() < 16 << 20, "{}", room(None, 2).bytes());
    }

    #[test]
    fn each_cpu_has_a_row_of_its_own_as_long_as_there_is_memory_for_it() {
        for (present, rows) in [(1, 1), (3, 4), (8, 8), (32, 32), (48, 64), (64, 64)] {
            assert_eq!(room(None, present).rows, rows, "{present}");
        }
        assert_eq!(room(None, 64).listeners, 1024);
    }

    #[test]
    fn however_many_cpus_there_are_the_memory_is_bounded() {
        for present in [64, 65, 128, 256, 512] {
            let room = room(None, present);
            assert!(room.bytes() <= 66 << 20, "{present}: {room:?} take {}", room.bytes());
        }
    }

    #[test]
    fn as_many_listeners_as_asked_for_have_a_slot() {
        assert_eq!(room(Some(100_000), 256), Room { listeners: 100_000, rows: 32 });
    }
}
