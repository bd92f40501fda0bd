//! Another program's protection against SYN floods, which requests cookies in a listener's name.

use std::iter;

use anyhow::{Result, bail};
use netqueue_kernel::CookieRequests;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use crate::counters::Counter;
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, Scenario, Share, cause, stage,
};
use crate::metrics;
use crate::packet::{Segment, ip_packet};
use crate::raw::{self, FakePeers};
use crate::sockets::{Family, Listener};
use crate::sysctl;

pub(super) const HELPER: Experiment = Experiment {
    number: "80",
    name: "syncookie-helper",
    incident: "a tc program calls bpf_tcp_gen_syncookie 10 times for a listener whose accept queue is full; then one SYN is dropped by \
               another listener, on the same CPU",
    verdict: "10 overflows that are no drops at the listener that was asked for, with a counter of their own, and one drop at the other",
    provoke: Scenario::Watching(helper),
};

const CALLS: u32 = 10;
const ASKED_FOR: u16 = 8060;
const OTHER: u16 = 8160;

fn helper(fixture: &Fixture<'_>) -> Result<Expectation> {
    let open = fixture.netns.run(|| {
        sysctl::defaults()?;
        let fake = FakePeers::of(Family::V4)?;
        let [asked_for, other] = [full(ASKED_FOR)?, full(OTHER)?];
        sysctl::ensure("ipv4/tcp_syncookies", 2)?;
        stay_on_this_cpu()?;
        let syn = ip_packet(raw::peer(1), asked_for.0.loopback(), Segment::Syn);
        // An Ethernet frame: addresses that nothing reads, and the type of IPv4.
        let frame: Vec<u8> = iter::repeat_n(0, 12).chain([0x08, 0x00]).chain(syn).collect();
        if !CookieRequests::load()?.ask(&frame, CALLS)? {
            bail!("the program found no listener at {}", asked_for.0.loopback());
        }
        fake.send_syns(1, other.0.loopback())?;
        super::wait_for(Counter::ListenDrops, 1, super::load::QUIET_WITHIN)?;
        Ok((asked_for, other, fake))
    })?;
    let listener = |listener: &Listener, drops: &[u64]| ExpectedListener {
        address: listener.address(),
        drops: drops
            .iter()
            .map(|drops| Share {
                cause: cause::ACCEPT_QUEUE_FULL,
                stages: stage::SYN,
                amount: Amount::Exactly(*drops),
            })
            .collect(),
        resets: Some(vec![]),
        sole: false,
    };
    let mut problems = Vec::new();
    if let Some(server) = fixture.server {
        const FAMILY: &str = "netqueue_syncookie_helper_overflows_total";
        for (port, right) in [(ASKED_FOR, Some(u64::from(CALLS))), (OTHER, None)] {
            let shown = metrics::gauge(server, FAMILY, fixture.netns.inode(), port)?;
            if shown != right {
                problems.push(format!("{FAMILY} of port {port} is {shown:?}, right were {right:?}"));
            }
        }
    }
    Ok(Expectation {
        kernel: vec![
            (Counter::ListenOverflows, Amount::Exactly(u64::from(CALLS) + 1)),
            (Counter::ListenDrops, Amount::Exactly(1)),
            (Counter::ReqQFullDoCookies, Amount::AtLeast(CALLS.into())),
        ],
        listeners: vec![listener(&open.0.0, &[]), listener(&open.1.0, &[1])],
        problems,
        open: vec![Box::new(open)],
        ..Expectation::default()
    })
}

/// Opens a listener and fills its accept queue; returns it with the clients in the queue.
fn full(port: u16) -> Result<(Listener, Vec<socket2::Socket>)> {
    let listener = Listener::ipv4(port, 1)?;
    let clients = listener.fill(2, false)?;
    Ok((listener, clients))
}

/// Pins the thread to its CPU, which from then on also receives the packets that the thread sends.
fn stay_on_this_cpu() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &here)?;
    Ok(())
}
