//! Per-CPU MIB counters: the kernel's own, read where the kernel writes them.
//!
//! A counter of /proc/net/netstat is the sum of one cell per CPU. While bottom halves are off, only the
//! function that is running can move this CPU's cell: the difference over a call is what the kernel charged
//! in that call.

use crate::{
    cpu::this_cpu,
    inflight::CpuState,
    layout::layout,
    mib_values::{MibPtr, MibValues},
    net::Net,
    read::{Fault, load, read},
};

impl MibPtr {
    /// Returns this CPU's LINUX_MIB_* counters (`net->mib.net_statistics`).
    #[inline(always)]
    pub(crate) fn linux(state: &mut CpuState, net: Net) -> Result<Self, Fault> {
        Self::of(state, net, layout!(net_statistics))
    }

    /// Returns this CPU's TCP_MIB_* counters (`net->mib.tcp_statistics`).
    #[inline(always)]
    pub(crate) fn tcp(state: &mut CpuState, net: Net) -> Result<Self, Fault> {
        Self::of(state, net, layout!(tcp_statistics))
    }

    #[inline(always)]
    fn of(state: &mut CpuState, net: Net, block: u32) -> Result<Self, Fault> {
        // The block's address is read each time: a namespace may die and another be allocated at its address.
        Self::at(state, load(net.0, block)?)
    }

    /// Returns this CPU's copy of the block that a member of `net->mib` points to.
    #[inline(always)]
    pub(crate) fn at(state: &mut CpuState, block: u64) -> Result<Self, Fault> {
        if state.cpu_offset == 0 {
            state.cpu_offset = read(layout!(per_cpu_offset), this_cpu() * 8)?;
        }
        Ok(Self(block.wrapping_add(state.cpu_offset)))
    }

    /// Reads one counter.
    #[inline(always)]
    fn one(self, offset: u32) -> Result<u64, Fault> {
        load(self.0, offset)
    }

    /// Reads two counters, at once if they are neighbours.
    #[inline(always)]
    fn two(self, first: u32, second: u32) -> Result<[u64; 2], Fault> {
        if layout!(rdonly_cast) != 0 {
            Ok([self.one(first)?, self.one(second)?])
        } else if second == first + 8 {
            read(self.0, first)
        } else if first == second + 8 {
            read(self.0, second).map(|[second, first]: [u64; 2]| [first, second])
        } else {
            Ok([self.one(first)?, self.one(second)?])
        }
    }

    /// Reads the counters that a listener is charged by, except EmbryonicRsts.
    #[inline(always)]
    pub(crate) fn counted(self) -> Result<MibValues, Fault> {
        self.values_but_sent(self.cookies_sent()?)
    }

    /// Reads the counters of [`Self::counted`], except SyncookiesSent, which the caller has read.
    #[inline(always)]
    pub(crate) fn values_but_sent(self, sent: u64) -> Result<MibValues, Fault> {
        let ([overflows, drops], [do_cookies, full]) = (self.listen()?, self.syn_queue()?);
        Ok(MibValues { overflows, drops, do_cookies, full, sent })
    }

    /// Reads ListenOverflows and ListenDrops.
    #[inline(always)]
    fn listen(self) -> Result<[u64; 2], Fault> {
        self.two(layout!(mib_listen_overflows), layout!(mib_listen_drops))
    }

    /// Reads TCPReqQFullDoCookies and TCPReqQFullDrop.
    #[inline(always)]
    fn syn_queue(self) -> Result<[u64; 2], Fault> {
        self.two(layout!(mib_reqq_full_do_cookies), layout!(mib_reqq_full_drop))
    }

    /// Reads SyncookiesSent.
    #[inline(always)]
    pub(crate) fn cookies_sent(self) -> Result<u64, Fault> {
        self.one(layout!(mib_syncookies_sent))
    }

    /// Reads SyncookiesRecv and SyncookiesFailed.
    #[inline(always)]
    pub(crate) fn cookies_returned(self) -> Result<[u64; 2], Fault> {
        self.two(layout!(mib_syncookies_received), layout!(mib_syncookies_failed))
    }

    /// Reads ListenDrops alone.
    #[inline(always)]
    pub(crate) fn drops(self) -> Result<u64, Fault> {
        self.one(layout!(mib_listen_drops))
    }

    /// Reads EmbryonicRsts.
    #[inline(always)]
    pub(crate) fn embryonic(self) -> Result<u64, Fault> {
        self.one(layout!(mib_embryonic_rsts))
    }

    /// Reads OutRsts; only for a [`MibPtr::tcp`] block.
    #[inline(always)]
    pub(crate) fn resets(self) -> Result<u64, Fault> {
        self.one(layout!(mib_out_rsts))
    }
}
