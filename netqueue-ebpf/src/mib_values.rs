//! Per-CPU MIB counters as values: where they are, and what they were.

/// Start of this CPU's copy of one namespace's MIB block.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MibPtr(pub(crate) u64);

/// Values of the listeners' counters on one CPU in one namespace.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MibValues {
    /// ListenOverflows
    pub(crate) overflows: u64,
    /// ListenDrops
    pub(crate) drops: u64,
    /// TCPReqQFullDoCookies
    pub(crate) do_cookies: u64,
    /// TCPReqQFullDrop
    pub(crate) full: u64,
    /// SyncookiesSent
    pub(crate) sent: u64,
}

impl MibValues {
    pub(crate) const NOTHING: Self = Self { overflows: 0, drops: 0, do_cookies: 0, full: 0, sent: 0 };

    #[inline(always)]
    pub(crate) fn is_nothing(&self) -> bool {
        self.overflows | self.drops | self.do_cookies | self.full | self.sent == 0
    }

    /// Returns by how much the counters have moved since `before`.
    #[inline(always)]
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            overflows: self.overflows.wrapping_sub(before.overflows),
            drops: self.drops.wrapping_sub(before.drops),
            do_cookies: self.do_cookies.wrapping_sub(before.do_cookies),
            full: self.full.wrapping_sub(before.full),
            sent: self.sent.wrapping_sub(before.sent),
        }
    }
}
