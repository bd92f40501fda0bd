//! Resets that this host decides on by itself.
//! Covers failed handshakes, peers that do not answer, and connections without memory. Each case runs with
//! IPv4 and with IPv6.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::established::Established;
use super::resets::{only_resets, port};
use super::wait_for;
use crate::counters::{self, Counter};
use crate::expectation::{
    Amount, Expectation, ExpectedListener, Experiment, Fixture, LabSettings, Scenario, cause, reason,
};
use crate::host_setting::{self, HostSetting};
use crate::packet::{Segment, SynAck};
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, PATIENCE};
use crate::verdict::Skip;
use crate::{netlink, sys, sysctl};

pub(super) const HANDSHAKE_ABORTED: Experiment = Experiment {
    number: "30",
    name: "handshake-aborted",
    incident: "4 peers send a second SYN, with another sequence number, in the middle of their handshakes",
    verdict: "resets of handshakes that went wrong: no drop, and no full queue",
    provoke: Scenario::Inside(handshake_aborted),
};

pub(super) const KEEPALIVE_TIMEOUT: Experiment = Experiment {
    number: "34",
    name: "keepalive-timeout",
    incident: "two peers vanish, and the server's keep-alive probes go unanswered",
    verdict: "two resets: the peers did not answer for as long as the process waits",
    provoke: Scenario::Inside(keepalive_timeout),
};

pub(super) const OUT_OF_MEMORY: Experiment = Experiment {
    number: "35",
    name: "out-of-memory",
    incident: "the server closes connections while there are more orphans than tcp_max_orphans allows (0)",
    verdict: "six resets for lack of memory or orphan slots: closed connections are not kept until their peers have everything",
    provoke: Scenario::Watching(out_of_memory),
};

pub(super) const ORPHANS_DESTROYED: Experiment = Experiment {
    number: "36b",
    name: "orphans-destroyed",
    incident: "an administrator destroys connections that the server has closed and whose peers have not answered (ss -K)",
    verdict: "six resets for a reason without a name: memory and orphans are not short",
    provoke: Scenario::Inside(orphans_destroyed),
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const RESETS_WITHIN: Duration = Duration::from_secs(10);

fn handshake_aborted(_: &LabSettings) -> Result<Expectation> {
    const PEERS: u16 = 2;
    sysctl::defaults()?;
    let mut sides = Vec::new();
    for family in FAMILIES {
        let fake = FakePeers::of(family)?;
        let listener = Listener::of(family, port(family, 8030), 16)?;
        fake.send_syns(PEERS, listener.loopback())?;
        fake.syn_acks(PEERS.into(), PATIENCE)?;
        (0..PEERS).try_for_each(|n| fake.send(fake.peer(n), listener.loopback(), Segment::SynAgain))?;
        sides.push((fake, listener));
    }
    let all = 2 * u64::from(PEERS);
    wait_for(Counter::OutRsts, all, RESETS_WITHIN)?;
    let listener = |(_, listener): &(FakePeers, Listener)| ExpectedListener {
        address: listener.address(),
        drops: vec![],
        resets: Some(vec![(cause::HANDSHAKE_ABORTED, Amount::Exactly(PEERS.into()))]),
        sole: false,
    };
    Ok(Expectation {
        kernel: vec![
            (Counter::OutRsts, Amount::Exactly(all)),
            (Counter::EmbryonicRsts, Amount::Exactly(all)),
            (Counter::ListenDrops, Amount::Exactly(0)),
        ],
        listeners: sides.iter().map(listener).collect(),
        reasons: vec![(cause::HANDSHAKE_ABORTED, reason::INVALID_SYN)],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}

fn keepalive_timeout(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let mut sides = Vec::new();
    for family in FAMILIES {
        let side = Established::with(family, port(family, 8034), 1)?;
        for connection in &side.accepted {
            sys::impatient_keepalive(connection)?;
            connection.set_keepalive(true)?;
        }
        sides.push(side);
    }
    wait_for(Counter::OutRsts, 2, RESETS_WITHIN)?;
    Ok(Expectation {
        kernel: only_resets(2),
        resets: vec![(cause::KEEPALIVE_TIMEOUT, Amount::Exactly(2))],
        reasons: vec![(cause::KEEPALIVE_TIMEOUT, reason::KEEPALIVE_TIMEOUT)],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}

fn out_of_memory(fixture: &Fixture<'_>) -> Result<Expectation> {
    const EACH: u16 = 3;
    host_setting::allowed(
        fixture.settings,
        "it sets net.ipv4.tcp_max_orphans of the whole machine to 0 for a second or two",
    )?;
    let mut sides = fixture.netns.run(|| {
        sysctl::defaults()?;
        let side = |family| Established::with(family, port(family, 8035), EACH);
        FAMILIES.into_iter().map(side).collect::<Result<Vec<_>>>()
    })?;
    // Make one connection of each family an orphan while that is possible: newer kernels use a count that is
    // up to 0.1 s old. The orphan is reset when its FIN is retransmitted, the other connections when they are
    // closed.
    for side in &mut sides {
        side.accepted.pop();
    }
    thread::sleep(Duration::from_millis(250));
    let limit = HostSetting::change("net/ipv4/tcp_max_orphans", 0)?;
    for side in &mut sides {
        side.close_all();
    }
    let all = 2 * u64::from(EACH);
    fixture.netns.run(move || wait_for(Counter::OutRsts, all, RESETS_WITHIN))?;
    limit.restore()?;
    Ok(Expectation {
        kernel: only_resets(all),
        resets: vec![(cause::OUT_OF_MEMORY, Amount::Exactly(all))],
        reasons: vec![(cause::OUT_OF_MEMORY, reason::ABORT_ON_MEMORY)],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}

fn orphans_destroyed(_: &LabSettings) -> Result<Expectation> {
    const EACH: u16 = 3;
    sysctl::defaults()?;
    let mut sides = Vec::new();
    for family in FAMILIES {
        let mut side = Established::with(family, port(family, 8037), EACH)?;
        side.close_all();
        for SynAck { to, from, .. } in side.answers.iter().copied() {
            netlink::destroy(from, to).map_err(|error| match error.downcast_ref::<std::io::Error>() {
                Some(reason) if reason.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    Skip::because("this kernel destroys no sockets (CONFIG_INET_DIAG_DESTROY)")
                }
                _ => error,
            })?;
        }
        sides.push(side);
    }
    let all = 2 * u64::from(EACH);
    // tcp_abort resets orphans since 6.11, and in older kernels that were mended.
    thread::sleep(Duration::from_millis(200));
    if counters::of_this_thread()?.get(Counter::OutRsts) == 0 {
        return Err(Skip::because("this kernel leaves orphans as they are"));
    }
    wait_for(Counter::OutRsts, all, RESETS_WITHIN)?;
    Ok(Expectation {
        kernel: only_resets(all),
        resets: vec![(cause::OTHER, Amount::Exactly(all)), (cause::OUT_OF_MEMORY, Amount::Exactly(0))],
        reasons: vec![(cause::OTHER, reason::STATE)],
        open: vec![Box::new(sides)],
        ..Expectation::default()
    })
}
