//! Final counters of namespaces that end.

use aya_ebpf::{macros::map, maps::RingBuf};
use netqueue_common::{NetnsFinalRecord, Tally};

use crate::{
    layout::layout,
    mib_baseline,
    mib_values::{MibPtr, MibValues},
    net::Net,
    read::{Fault, read},
    tally::tally,
};

/// Final counters of namespaces that ended. The loader sets the size.
#[map(name = "nq_netns_final")]
static NETNS_FINALS: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// The counters of a [`NetnsFinalRecord`](netqueue_common::NetnsFinalRecord), summed over the CPUs.
type Totals = [u64; 9];

/// Largest number of CPUs that are summed up: the verifier follows each turn of the loop.
const MOST_CPUS: u32 = 1024;

/// Returns the counters of a namespace that ends, summed over all CPUs as in /proc/net/netstat.
/// Forgets their baselines, because nobody reads the counters any more.
#[inline(always)]
fn last_totals(net: Net) -> Result<Totals, Fault> {
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

/// Reports the final counters of a namespace, in which nothing will count any more.
#[inline(always)]
pub(crate) fn ended(net: Net) -> Result<(), Fault> {
    let (netns, counters) = (net.id()?, last_totals(net)?);
    let room = if layout!(cpus) <= MOST_CPUS { NETNS_FINALS.reserve::<NetnsFinalRecord>(0) } else { None };
    let Some(mut record) = room else {
        tally(Tally::NetnsFinalsLost);
        return Ok(());
    };
    record.write(NetnsFinalRecord { netns, counters });
    record.submit(0);
    Ok(())
}
