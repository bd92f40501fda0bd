//! A charge of EmbryonicRsts that waits for the counter to move.

use crate::mib_values::MibPtr;

/// Pending charge of one CPU.
/// Programs on top of each other may come here: a softirq's on top of the daemon's, which itself may
/// interrupt a softirq's. Each runs to its end before the one below goes on.
#[repr(C)]
pub(crate) struct Owed {
    /// Address of the counters; 0 if no charge is pending.
    pub(crate) cells: MibPtr,
    /// Value of the counter when the charge was noted.
    pub(crate) before: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// 1 while a program handles the charge, perhaps below this one.
    pub(crate) busy: u64,
    /// Number of times that a pending charge was settled.
    pub(crate) settled: u64,
}
