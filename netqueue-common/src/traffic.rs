//! Traffic of a listener while nothing is wrong: connections, queue lengths and waits.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One row of one listener's traffic: one CPU's part, or that of several CPUs.
/// Counts only grow while the slot has one owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TrafficRow {
    /// Connections that accept() took within the first of [`Waits::BOUNDS`].
    /// Most connections are, so each CPU counts them in a row of its own.
    pub prompt: u64,
    /// Waits of the connections in [`Self::prompt`] added up, in nanoseconds.
    pub prompt_nanos: u64,
    /// Connections by length of the accept queue when they entered it, themselves included.
    /// The buckets are 1, up to 2, 4, .., and longer. All connections are in the first one if the length is
    /// not observed. The sum of the buckets is the number of connections that entered the queue.
    pub depth: [u64; TrafficRow::DEPTHS],
    /// Sum of the lengths in [`Self::depth`], except those in its first bucket, which are 1 each.
    pub depth_sum: u64,
    /// Longest that the accept queue was, if longer than 1, as this CPU saw it, in even and in odd epochs.
    /// The epoch is in the upper half of the word, the length in the lower.
    ///
    /// The daemon raises the epoch ([`Control::epoch`]) about once a second and reads both words: that of the
    /// previous epoch is final by then, whatever a program was doing while the epoch was raised.
    pub peaks: [u64; 2],
    /// Connections that were in the accept queue when the listener was closed, or that came too late.
    pub abandoned: u64,
    /// Generation of the slot whose counts this row contains.
    pub generation: u64,
    /// SYN-ACKs that were sent again.
    pub synack_retransmits: u64,
}

impl TrafficRow {
    /// Number of buckets of [`Self::depth`]: bucket `n` ends at `1 << n`, the last one has no bound.
    pub const DEPTHS: usize = 16;
}

/// Waits in one listener's accept queue, except those counted in [`TrafficRow::prompt`].
/// All CPUs write to one structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Waits {
    /// Number of waits up to each of [`Self::BOUNDS`], and longer ones in the last bucket.
    pub counts: [u64; Waits::BUCKETS],
    /// Sum of the waits in each bucket, in microseconds, from which the bucket's mean follows.
    pub sums: [u64; Waits::BUCKETS],
    /// Accepted connections whose wait could not be measured.
    pub unmeasured: u64,
    /// Fills the struct up to whole cache lines; 0.
    pub reserved: [u64; 7],
}

impl Waits {
    /// Number of buckets; the last one has no bound.
    pub const BUCKETS: usize = 60;

    /// Size in words of eight bytes: whole cache lines.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Upper bounds in microseconds, 100 µs to 60 s, padded to a power of two for a binary search.
    pub const BOUNDS: [u32; 64] = {
        const TEN: [u32; 10] = [100, 125, 160, 200, 250, 320, 400, 500, 640, 800];
        let mut bounds = [u32::MAX; 64];
        let (mut index, mut scale) = (0, 1);
        while index + 1 < Self::BUCKETS {
            let bound = TEN[index % 10] * scale;
            bounds[index] = if bound > 60_000_000 { 60_000_000 } else { bound };
            index += 1;
            if index.is_multiple_of(10) {
                scale *= 10;
            }
        }
        bounds
    };
}

/// Up to four connections in accept queues, each with its listener: one set of a table.
/// The address of a connection's socket selects the set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PendingSet {
    /// Kernel addresses of the connections' sockets; 0 where there is none.
    pub socks: [u64; 4],
    /// Listener of each connection: its first row in the lower half, its slot's generation in the upper.
    pub owners: [u64; 4],
}

/// A sample of a listener's queues, taken without an event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QueueSample {
    /// 1 if the socket was found listening; else the other members mean nothing.
    pub listening: u32,
    /// `sk_ack_backlog`
    pub accept_length: u32,
    /// `sk_max_ack_backlog`
    pub accept_limit: u32,
    /// `icsk_accept_queue.qlen`
    pub syn_length: u32,
}

impl QueueSample {
    /// Number of listeners that one run of the program samples.
    pub const BATCH: u32 = 64;
}

/// Settings that the daemon changes at run time: mapped memory that it writes and programs read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// Number of the time span to which peaks belong.
    pub epoch: u64,
}

#[cfg(feature = "user")]
mod pod {
    use super::{Control, QueueSample, TrafficRow, Waits};

    // SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
    unsafe impl aya::Pod for TrafficRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Waits {}
    // SAFETY: as above.
    unsafe impl aya::Pod for QueueSample {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Control {}
}
