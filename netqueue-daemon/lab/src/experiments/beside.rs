//! Clients suffer for reasons that are no drop and no reset of this host's listeners.
//! netqueue attributes none of it, and tells what the kernel's other counters say.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use crate::counters::Counter;
use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::packet::{Segment, ip_packet};
use crate::sockets::{Listener, connect};
use crate::verdict::Skip;
use crate::{sys, sysctl};

pub(super) const REVERSE_PATH: Experiment = Experiment {
    number: "140",
    name: "reverse-path-filter",
    incident: "rp_filter=1, and 3 SYNs come from an address that is not reached through the interface",
    verdict: "no verdict but the closed port: 3 packets were dropped by the reverse-path filter before they reached TCP",
    provoke: Scenario::Watching(reverse_path),
};

pub(super) const MD5_MISMATCH: Experiment = Experiment {
    number: "141",
    name: "md5-mismatch",
    incident: "a listener and 2 clients have different TCP MD5 keys, as two BGP routers with a typing mistake",
    verdict: "no verdict but the closed port: 2 segments were dropped for a wrong TCP MD5 signature",
    provoke: Scenario::Watching(md5_mismatch),
};

pub(super) const PEERS_RESET: Experiment = Experiment {
    number: "142",
    name: "peers-reset",
    incident: "8 clients reset their established connections, as health checks do",
    verdict: "resets received on established connections, which are not the listener's",
    provoke: Scenario::Watching(peers_reset),
};

/// Time limit for netqueue to read a namespace without charges and tell what moved in it.
const TOLD_WITHIN: Duration = Duration::from_secs(45);

fn reverse_path(fixture: &Fixture<'_>) -> Result<Expectation> {
    const PORT: u16 = 8140;
    let since = charged(fixture)?;
    let listener = fixture.netns.run(|| {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/conf/lo/route_localnet", 1)?;
        sysctl::ensure("ipv4/conf/all/rp_filter", 1)?;
        let listener = Listener::ipv4(PORT, 16)?;
        let from = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 20_000);
        let syn = ip_packet(from, listener.loopback(), Segment::Syn);
        (0..3).try_for_each(|_| sys::receive_on_loopback(&syn))?;
        Ok(listener)
    })?;
    let sentence = "3 packets were dropped by the reverse-path filter (IPReversePathFilter; rp_filter)";
    told(fixture, since, sentence, Expectation { open: vec![Box::new(listener)], ..nothing() })
}

fn md5_mismatch(fixture: &Fixture<'_>) -> Result<Expectation> {
    const PORT: u16 = 8141;
    let since = charged(fixture)?;
    let (listener, clients) = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::ipv4(PORT, 16)?;
        let peer = Ipv4Addr::LOCALHOST;
        listener.md5_key(peer, b"as agreed").map_err(|error| {
            Skip::because(format!("this kernel takes no TCP MD5 key (CONFIG_TCP_MD5SIG): {error}"))
        })?;
        let connecting = |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            sys::md5_key(&client, peer, b"mistyped")?;
            client.set_nonblocking(true)?;
            let _in_progress = client.connect(&listener.loopback().into());
            Ok(client)
        };
        let clients = (0..2).map(connecting).collect::<Result<Vec<Socket>>>()?;
        Ok((listener, clients))
    })?;
    // Before the SYNs are retransmitted after a second.
    drop(clients);
    let sentence =
        "2 segments were dropped for a wrong TCP MD5 signature (TCPMD5Failure; TCP_MD5SIG: the keys differ)";
    told(fixture, since, sentence, Expectation { open: vec![Box::new(listener)], ..nothing() })
}

fn peers_reset(fixture: &Fixture<'_>) -> Result<Expectation> {
    const PORT: u16 = 8142;
    const CLIENTS: u64 = 8;
    let since = known(fixture)?;
    let held = fixture.netns.run(|| {
        sysctl::defaults()?;
        let listener = Listener::ipv4(PORT, 16)?;
        let mut accepted = Vec::new();
        for _ in 0..CLIENTS {
            let client = connect(listener.loopback())?;
            accepted.push(listener.accept()?);
            client.set_linger(Some(Duration::ZERO))?;
        }
        Ok((listener, accepted))
    })?;
    // The clients are in the same namespace, and netqueue has counted the resets that they sent.
    let sentence = "at least 8 resets were received on established connections (EstabResets)";
    let kernel =
        vec![(Counter::OutRsts, Amount::Exactly(CLIENTS)), (Counter::ListenDrops, Amount::Exactly(0))];
    told(
        fixture,
        since,
        sentence,
        Expectation { kernel, open: vec![Box::new(held)], ..Expectation::default() },
    )
}

/// Expects nothing but the reset of [`charged`].
fn nothing() -> Expectation {
    Expectation {
        kernel: vec![(Counter::OutRsts, Amount::Exactly(1)), (Counter::ListenDrops, Amount::Exactly(0))],
        ..Expectation::default()
    }
}

/// Provokes a reset, so that netqueue looks for the namespace at once.
///
/// Asks netqueue about the namespace before the incident, and returns the time.
fn charged(fixture: &Fixture<'_>) -> Result<SystemTime> {
    const CLOSED: u16 = 8149;
    fixture.netns.run(|| {
        let _refused = TcpStream::connect((Ipv4Addr::LOCALHOST, CLOSED));
        Ok(())
    })?;
    known(fixture)
}

/// Asks netqueue about the namespace before the incident, and returns the time.
fn known(fixture: &Fixture<'_>) -> Result<SystemTime> {
    let since = SystemTime::now();
    if let Some(server) = fixture.server {
        diagnosis::beside(server, fixture.netns.inode(), since)?;
    }
    Ok(since)
}

/// Adds a problem unless netqueue tells the sentence about the namespace in time.
fn told(
    fixture: &Fixture<'_>,
    since: SystemTime,
    sentence: &str,
    mut expectation: Expectation,
) -> Result<Expectation> {
    let Some(server) = fixture.server else { return Ok(expectation) };
    let start = Instant::now();
    loop {
        let moved = diagnosis::beside(server, fixture.netns.inode(), since)?;
        if moved.iter().any(|one| one == sentence) {
            expectation
                .measured
                .push(format!("told after {:.1} s: {sentence}", start.elapsed().as_secs_f64()));
            return Ok(expectation);
        }
        if start.elapsed() > TOLD_WITHIN {
            expectation.problems.push(format!("netqueue must tell {sentence:?}, and tells {moved:?}"));
            return Ok(expectation);
        }
        thread::sleep(Duration::from_millis(200));
    }
}
