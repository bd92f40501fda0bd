//! The settings that verdicts propose to change, each tried with a harmful and the proposed value.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::Socket;

use super::{established::Established, final_ack, flood, load::Processes, migrated};
use crate::counters::{self, Counter};
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::host_setting::{self, HostSetting};
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, PATIENCE, connect, connect_nonblocking, send_byte};
use crate::sysctl;
use crate::verdict::Skip;
use crate::worker::{Serve, spawn_server};

pub(super) const KNOBS: Experiment = Experiment {
    number: "92",
    name: "knobs",
    incident: "an incident for each setting that a verdict may propose to change, and the same again with the proposed value",
    verdict: "each remedy works: harm with the value that is found, none with the one that is proposed",
    provoke: Scenario::Watching(knobs),
};

/// Pause after an incident: loopback delivers within it, and no SYN is retransmitted yet.
const SETTLED: Duration = Duration::from_millis(300);
const CLIENTS: usize = 12;

/// A setting, and an incident that it decides.
struct Knob {
    name: &'static str,
    /// Its values in the two runs, in words.
    values: [&'static str; 2],
    /// Provokes the incident, with the remedy or without.
    /// Returns the number of packets or clients that it harmed.
    harm: fn(&Fixture<'_>, bool) -> Result<u64>,
}

const ALL: [Knob; 11] = [
    Knob { name: "backlog of listen()", values: ["4", "64"], harm: backlog },
    Knob { name: "net.core.somaxconn", values: ["4", "4096, and listen() again"], harm: somaxconn },
    Knob { name: "net.ipv4.tcp_abort_on_overflow", values: ["1", "0"], harm: abort_on_overflow },
    Knob { name: "net.ipv4.tcp_syncookies", values: ["0", "1"], harm: syncookies_off },
    Knob { name: "net.ipv4.tcp_syncookies", values: ["2", "1"], harm: syncookies_always },
    Knob { name: "net.ipv4.tcp_max_syn_backlog", values: ["64", "512"], harm: max_syn_backlog },
    Knob { name: "net.ipv4.tcp_synack_retries", values: ["0", "5"], harm: synack_retries },
    Knob { name: "net.ipv4.tcp_migrate_req", values: ["0", "1"], harm: migrate_req },
    Knob { name: "net.ipv4.tcp_max_orphans", values: ["0", "the kernel's default"], harm: max_orphans },
    Knob { name: "open files (RLIMIT_NOFILE)", values: ["10", "1024"], harm: open_files },
    Knob { name: "the client's idle time-out", values: ["above the server's", "below"], harm: idle_timeout },
];

fn knobs(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut expectation = Expectation {
        kernel: vec![(Counter::ListenDrops, Amount::AtLeast(1)), (Counter::OutRsts, Amount::AtLeast(1))],
        ..Expectation::default()
    };
    for Knob { name, values: [found, proposed], harm } in ALL {
        let both = harm(fixture, false).and_then(|without| Ok((without, harm(fixture, true)?)));
        let (without, with) = match both {
            Ok(both) => both,
            Err(error) if error.is::<Skip>() => {
                expectation.measured.push(format!("{name}: not tried: {error}"));
                continue;
            }
            Err(error) => return Err(error.context(name)),
        };
        expectation.measured.push(format!("{name}: {found}: {without} harmed; {proposed}: {with}"));
        if without == 0 {
            expectation.problems.push(format!("{name}: the incident did not happen with {found}"));
        }
        if with > 0 {
            expectation.problems.push(format!("{name}: {proposed} does not help: {with} harmed"));
        }
    }
    Ok(expectation)
}

/// Returns by how much a counter of the calling thread's namespace moves during the work.
/// Sockets that the work returns stay open until the counter was read.
fn moved<T>(counter: Counter, work: impl FnOnce() -> Result<T>) -> Result<u64> {
    let before = counters::of_this_thread()?.get(counter);
    let open = work()?;
    thread::sleep(SETTLED);
    let after = counters::of_this_thread()?.get(counter);
    drop(open);
    Ok(after - before)
}

fn burst(listener: &Listener) -> Result<Vec<Socket>> {
    (0..CLIENTS).map(|_| connect_nonblocking(listener.loopback())).collect()
}

fn backlog(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        let listener = Listener::ipv4(0, if remedied { 64 } else { 4 })?;
        moved(Counter::ListenDrops, || Ok((burst(&listener)?, listener)))
    })
}

fn somaxconn(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("core/somaxconn", 4)?;
        let listener = Listener::ipv4(0, 64)?;
        if remedied {
            sysctl::ensure("core/somaxconn", 4096)?;
            listener.listen_again(64)?;
        }
        moved(Counter::ListenDrops, || Ok((burst(&listener)?, listener)))
    })
}

fn abort_on_overflow(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    let port = 8921 + u16::from(remedied);
    fixture.netns.run(move || moved(Counter::OutRsts, || final_ack::raw(Family::V4, port, !remedied)))
}

fn syncookies_off(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", remedied.into())?;
        let listener = Listener::ipv4(0, 8)?;
        moved(Counter::ListenDrops, || Ok((flood::flood(&listener, 64)?, listener)))
    })
}

fn syncookies_always(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", if remedied { 1 } else { 2 })?;
        let listener = Listener::ipv4(0, 64)?;
        moved(Counter::SyncookiesSent, || Ok((burst(&listener)?, listener)))
    })
}

fn max_syn_backlog(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_syncookies", 0)?;
        sysctl::ensure("ipv4/tcp_max_syn_backlog", if remedied { 512 } else { 64 })?;
        let listener = Listener::ipv4(0, 1024)?;
        moved(Counter::ListenDrops, || Ok((flood::flood(&listener, 200)?, listener)))
    })
}

/// The client's final ACK takes longer than the kernel waits without a retransmission.
fn synack_retries(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    const LATE: Duration = Duration::from_millis(2500);
    fixture.netns.run(move || {
        sysctl::defaults()?;
        sysctl::ensure("ipv4/tcp_synack_retries", if remedied { 5 } else { 0 })?;
        let fake = FakePeers::create()?;
        let listener = Listener::ipv4(0, 64)?;
        fake.send_syns(1, listener.loopback())?;
        let answers = fake.syn_acks(1, PATIENCE)?;
        thread::sleep(LATE);
        moved(Counter::OutRsts, || {
            answers.iter().try_for_each(|answer| fake.send_final_ack(answer))?;
            Ok((listener, fake))
        })
    })
}

fn migrate_req(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    let port = 8923 + u16::from(remedied);
    fixture.netns.run(move || {
        sysctl::defaults()?;
        migrated::set_migrate_req(remedied)?;
        let old = Listener::reuseport(port, 64)?;
        let queued = old.fill(4, false)?;
        let new = Listener::reuseport(port, 64)?;
        moved(Counter::OutRsts, || {
            drop(old);
            Ok((new, queued))
        })
    })
}

/// Closes accepted connections whose peers acknowledge nothing, which makes them TCP orphans.
fn max_orphans(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    // Orphans of the first run keep its port.
    let port = 8925 + u16::from(remedied);
    host_setting::allowed(
        fixture.settings,
        "it sets net.ipv4.tcp_max_orphans of the whole machine to 0 for a moment",
    )?;
    let mut side = fixture.netns.run(move || {
        sysctl::defaults()?;
        Established::with(Family::V4, port, 4)
    })?;
    // The first orphan, while that is possible: newer kernels use a count that is up to 0.1 s old.
    drop(side.accepted.pop());
    thread::sleep(SETTLED);
    let limit = if remedied { None } else { Some(HostSetting::change("net/ipv4/tcp_max_orphans", 0)?) };
    let harmed = fixture.netns.run(move || {
        moved(Counter::OutRsts, || {
            side.close_all();
            Ok(side)
        })
    })?;
    if let Some(limit) = limit {
        limit.restore()?;
    }
    Ok(harmed)
}

/// Counts the connections that wait for good.
fn open_files(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    const WITHIN: Duration = Duration::from_secs(10);
    const FOR_GOOD: Duration = Duration::from_secs(1);
    fixture.netns.run(move || {
        sysctl::defaults()?;
        let listener = Listener::ipv4(0, 64)?;
        let nofile = Some(if remedied { 1024 } else { 10 });
        let _server = Processes(vec![spawn_server(&listener, Serve { nofile, work_ms: 0 })?]);
        let _clients = burst(&listener)?;
        let start = Instant::now();
        let (mut waiting, mut since) = (listener.queue_length()?, Instant::now());
        while start.elapsed() < WITHIN && since.elapsed() < FOR_GOOD {
            thread::sleep(Duration::from_millis(20));
            let now = listener.queue_length()?;
            if now != waiting {
                (waiting, since) = (now, Instant::now());
            }
        }
        Ok(waiting.into())
    })
}

/// Closes a connection first on the side with the shorter idle time-out.
fn idle_timeout(fixture: &Fixture<'_>, remedied: bool) -> Result<u64> {
    fixture.netns.run(move || {
        sysctl::defaults()?;
        let listener = Listener::ipv4(0, 64)?;
        let client = connect(listener.loopback())?;
        let accepted = listener.accept()?;
        moved(Counter::OutRsts, || {
            if remedied {
                drop(client);
                drop(accepted);
            } else {
                drop(accepted);
                send_byte(&client)?;
            }
            Ok(listener)
        })
    })
}
