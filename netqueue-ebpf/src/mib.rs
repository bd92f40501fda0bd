//! Per-CPU MIB counters: the kernel's own, read where the kernel writes them.
//!
//! A counter of /proc/net/netstat is the sum of one cell per CPU. While bottom halves are off, only the
//! function that is running can move this CPU's cell: the difference over a call is what the kernel charged
//! in that call.

use crate::{
    inflight::CpuState,
    kernel::{Fault, load, read},
    layout::layout,
    maps::this_cpu,
    mib_baseline,
    net::Net,
};

/// Start of this CPU's copy of one namespace's MIB block.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MibPtr(pub(crate) u64);

/// The counters of a [`NetnsFinalRecord`](netqueue_common::NetnsFinalRecord), summed over the CPUs.
pub(crate) type Totals = [u64; 9];

/// Largest number of CPUs that are summed up: the verifier follows each turn of the loop.
pub(crate) const MOST_CPUS: u32 = 1024;

/// Returns the counters of a namespace that ends, summed over all CPUs as in /proc/net/netstat.
/// Forgets their baselines, because nobody reads the counters any more.
#[inline(always)]
pub(crate) fn last_totals(net: Net) -> Result<Totals, Fault> {
    let linux: u64 = read(net.0, layout!(net_statistics))?;
    let tcp: u64 = read(net.0, layout!(tcp_statistics))?;
    let mut sums = [0; 9];
    let mut cpu = 0;
    while cpu < layout!(cpus) && cpu < MOST_CPUS {
        let offset: u64 = read(layout!(per_cpu_offset), cpu * 8)?;
        let (linux, tcp) = (MibPtr(linux.wrapping_add(offset)), MibPtr(tcp.wrapping_add(offset)));
        mib_baseline::forget(linux);
        let MibValues { overflows, drops, do_cookies, full, sent } = linux.counted()?;
        let [received, failed] = linux.cookies_returned()?;
        let here =
            [overflows, drops, full, do_cookies, sent, received, failed, linux.embryonic()?, tcp.resets()?];
        let mut index = 0;
        while index < here.len() {
            sums[index] += here[index];
            index += 1;
        }
        cpu += 1;
    }
    Ok(sums)
}

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
