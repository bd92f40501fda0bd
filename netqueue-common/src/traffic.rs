//! What goes through a listener when nothing is wrong.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One row of what went through one listener: one CPU's part, or that of several CPUs. Counts only grow while the slot has
/// one owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Traffic {
    /// Connections that accept() took within the first of [`Waits::BOUNDS`]: as most are, each CPU counts them for itself.
    pub prompt: u64,
    /// The waits of these together, in nanoseconds.
    pub prompt_nanos: u64,
    /// How often the accept queue had which length when a connection entered it, that one included: 1, up to 2, 4, .., and
    /// longer. All in the first where the length is not observed. Together they are the connections that entered it.
    pub depth: [u64; Traffic::DEPTHS],
    /// The lengths counted in [`Self::depth`], added up, but for its first, where each is 1.
    pub depth_sum: u64,
    /// The longest the accept queue was, where it was longer than 1, as this CPU saw it, in epochs that are even and in odd
    /// ones: the epoch in the upper half of the word, the length in the lower.
    ///
    /// The daemon raises the epoch ([`Control::epoch`]) about once a second and reads both words: that of the epoch before
    /// is final by then, whatever a program was doing while the epoch was raised.
    pub peaks: [u64; 2],
    /// Connections that were in it when the listener was closed, or that it did not take for that reason.
    pub abandoned: u64,
    /// The slot's generation: whose row this is.
    pub generation: u64,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
}

impl Traffic {
    /// Buckets of [`Self::depth`]: bucket `n` ends at `1 << n`, the last one never.
    pub const DEPTHS: usize = 16;
}

/// How long connections waited in one listener's accept queue that were not taken at once ([`Traffic::prompt`]). All CPUs write
/// to one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Waits {
    /// How many were up to each of [`Self::BOUNDS`], and longer.
    pub counts: [u64; Waits::BUCKETS],
    /// The waits counted in each of these together, in microseconds: where in its bucket the middle lies.
    pub sums: [u64; Waits::BUCKETS],
    /// Accepted connections whose wait could not be measured.
    pub unmeasured: u64,
    /// Fills the struct up to whole cache lines; 0.
    pub reserved: [u64; 7],
}

impl Waits {
    /// Buckets, the last one without a bound.
    pub const BUCKETS: usize = 60;

    /// Size in words of eight bytes: whole cache lines.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Upper bounds in microseconds, 100 µs to 60 s, filled up to a power of two for a search by halves.
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

/// A set of connections in accept queues, and whose queue each is in: a table addressed by the connection's socket, with
/// four places at each address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QueuedSet {
    /// Kernel addresses of the connections' sockets; 0 where there is none.
    pub socks: [u64; 4],
    /// The number of the first row of each one's listener in the lower half, its slot's generation in the upper.
    pub whose: [u64; 4],
}

/// A listener's queues as they were when they were last looked at, without an event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Look {
    /// 1 where the socket was found listening; else the rest means nothing.
    pub listening: u32,
    /// `sk_ack_backlog`
    pub accept_length: u32,
    /// `sk_max_ack_backlog`
    pub accept_limit: u32,
    /// `icsk_accept_queue.qlen`
    pub syn_length: u32,
}

impl Look {
    /// How many listeners one run of the program looks at.
    pub const BATCH: u32 = 64;
}

/// What the daemon tells the kernel side while it runs: mapped memory that it writes and programs read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Control {
    /// The number of the time span to which peaks belong.
    pub epoch: u64,
}

#[cfg(feature = "user")]
mod pod {
    use super::{Control, Look, Traffic, Waits};

    // SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
    unsafe impl aya::Pod for Traffic {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Waits {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Look {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Control {}
}
