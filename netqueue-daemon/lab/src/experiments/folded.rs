//! Far more listeners than slots: sums stay exact.
//! netqueue reports the counts it cannot separate, and listeners that drop take precedence.

use netqueue_api::AccountKind;
use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;

use super::load::patiently;
use super::wait_for;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::metrics;
use crate::observation::Observation;
use crate::own_daemon::OwnDaemon;
use crate::raw::FakePeers;
use crate::sockets::{Listener, raise_descriptor_limit};
use crate::sysctl;

pub(super) const MORE_THAN_SLOTS: Experiment = Experiment {
    number: "47",
    name: "more-listeners-than-slots",
    incident: "a daemon with room for 256 listeners; 256 of them get a connection each, then 1,500 others drop SYNs",
    verdict: "every drop counted; at least 64 of those that drop have counts of their own; the drops of the others are in \
              port=\"other\", and status, warnings and metric say how many",
    provoke: Scenario::Watching(more_than_slots),
};

const ROOM: u16 = 256;
/// Slots reserved for listeners that drop: a quarter.
const RESERVED: usize = 64;
const DROPPING: u16 = 1500;
const FIRST_WELL: u16 = 12_000;
const FIRST_DROPPING: u16 = 20_000;
/// Number of SYNs per listener; on most kernels the first finds room.
const SYNS: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

fn more_than_slots(fixture: &Fixture<'_>) -> Result<Expectation> {
    raise_descriptor_limit()?;
    let room = format!("--max-listeners={ROOM}");
    let own = fixture.server.map(|_| OwnDaemon::start(&[&room])).transpose()?;
    let drops = u64::from(DROPPING) * u64::from(SYNS - 1);
    let open = fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", 0)?;
        let fake = FakePeers::create()?;
        let well = (FIRST_WELL..FIRST_WELL + ROOM).map(connected).collect::<Result<Vec<_>>>()?;
        let dropping = FIRST_DROPPING..FIRST_DROPPING + DROPPING;
        let dropping = dropping.map(|port| drop_syns(&fake, port)).collect::<Result<Vec<_>>>()?;
        wait_for(Counter::ListenDrops, drops, PATIENCE)?;
        Ok((well, dropping, fake))
    })?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(drops))],
        open: vec![Box::new(open)],
        ..Expectation::default()
    };
    if let Some(own) = own {
        let seen = patiently(|| Observation::of(own.server(), fixture.netns.inode()))?;
        // Resets are excluded: SYN-ACKs are retransmitted and answered, so more resets are under way.
        let (kernel, rows) = (fixture.netns.counters()?, seen.sum());
        let [kernel, rows] = [kernel, rows].map(|counters| counters.get(Counter::ListenDrops));
        if kernel != rows {
            expectation.problems.push(format!("the kernel counted {kernel} drops, its rows show {rows}"));
        }
        let dropped = seen.rows.iter().filter(|row| row.kind == AccountKind::Listener && row.drops.total > 0);
        let apart = dropped.filter_map(|row| row.port).collect::<HashSet<_>>().len();
        let other = seen.rows.iter().filter(|row| row.kind == AccountKind::Other);
        let other: u64 = other.map(|row| row.drops.total + row.resets.total).sum();
        let folded = patiently(|| own.status())?.events.folded;
        let metric = patiently(|| metrics::total(own.server(), "netqueue_charges_folded_total"))?;
        expectation.measured.push(format!(
            "{apart} that drop have counts of their own, {other} drops in `other`, {folded} folded"
        ));
        if apart < RESERVED {
            expectation.problems.push(format!("only {apart} listeners that drop have counts of their own"));
        }
        if other == 0 || folded != other || metric != Some(other) {
            expectation
                .problems
                .push(format!("{other} drops are in `other`, status says {folded}, the metric {metric:?}"));
        }
        let said = format!("{other} drops and resets");
        if !seen.warnings.iter().any(|warning| warning.contains(&said)) {
            expectation.problems.push(format!("no warning tells of {said}: {:?}", seen.warnings));
        }
    }
    Ok(expectation)
}

/// Opens a listener with a connection in its queue.
fn connected(port: u16) -> Result<Box<dyn Send>> {
    let listener = Listener::ipv4(port, 16)?;
    let clients = listener.fill(1, false)?;
    Ok(Box::new((listener, clients)))
}

/// Overflows a listener with room for one handshake; loopback delivers the SYNs during the send.
fn drop_syns(fake: &FakePeers, port: u16) -> Result<Listener> {
    let listener = Listener::ipv4(port, 0)?;
    fake.send_syns(SYNS, listener.loopback())?;
    Ok(listener)
}
