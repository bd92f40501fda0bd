//! Cases about accept queues and SYN queues.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;
use socket2::Socket;

use super::server::Act::{Drain, Hold, Read, Reply, Wait};
use super::server::Serve;
use super::site::{Site, at, connect, paced, request, start};
use super::{Case, Held};
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};
use crate::sysctl;

pub(super) const CASES: &[Case] = &[
    Case { name: "stopped-behind-a-large-backlog", provoke: stopped_behind_a_large_backlog },
    Case { name: "all-workers-busy", provoke: all_workers_busy },
    Case { name: "syncookies-always", provoke: syncookies_always },
    Case { name: "clients-that-give-up", provoke: clients_that_give_up },
    Case { name: "burst-against-a-small-backlog", provoke: burst_against_a_small_backlog },
    Case { name: "backlog-cut-by-somaxconn", provoke: backlog_cut_by_somaxconn },
    Case { name: "somaxconn-raised-without-a-restart", provoke: somaxconn_raised },
    Case { name: "asked-by-the-clients-address", provoke: asked_by_the_clients_address },
    Case { name: "server-speaks-first-and-hangs", provoke: server_speaks_first },
    Case { name: "deferred-accept-and-silent-clients", provoke: deferred_accept },
    Case { name: "abort-on-overflow", provoke: abort_on_overflow },
    Case { name: "syn-flood-absorbed-by-cookies", provoke: syn_flood },
    Case { name: "healthy-under-load", provoke: healthy_under_load },
];

fn stopped_behind_a_large_backlog(site: &Site) -> Result<Held> {
    const PORT: u16 = 8151;
    let server =
        site.serve(&Serve { backlog: 4096, ..Serve::new("orders", at(PORT), &[Read(512), Reply, Hold]) })?;
    site.clients(|| {
        let mut first = connect(PORT)?;
        first.write_all(b"x")?;
        Ok(())
    })?;
    server.signal(Signal::SIGSTOP)?;
    let waiting = site.clients(|| {
        let mut clients = Vec::new();
        paced(5.0, 14, |_| {
            let mut client = connect(PORT)?;
            client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            clients.push(client);
            Ok(())
        })?;
        thread::sleep(Duration::from_secs(10));
        Ok(clients)
    })?;
    Ok(vec![Box::new(waiting), Box::new(server)])
}

fn all_workers_busy(site: &Site) -> Result<Held> {
    const PORT: u16 = 8152;
    let server = site.serve(&Serve {
        backlog: 8,
        workers: 3,
        ..Serve::new("gunicorn", at(PORT), &[Wait(3000), Reply])
    })?;
    let clients = site.arriving(PORT, 3.0, 25)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn syncookies_always(site: &Site) -> Result<Held> {
    const PORT: u16 = 8124;
    site.servers.run(|| sysctl::ensure("ipv4/tcp_syncookies", 2))?;
    let server =
        site.serve(&Serve { backlog: 1024, ..Serve::new("netdata", at(PORT), &[Read(64), Hold]) })?;
    let clients = site.clients(|| {
        let mut clients = Vec::new();
        paced(20.0, 3, |_| {
            clients.push(connect(PORT)?);
            Ok(())
        })?;
        Ok(clients)
    })?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn clients_that_give_up(site: &Site) -> Result<Held> {
    const PORT: u16 = 8160;
    const TIME_OUT: Duration = Duration::from_millis(800);
    let server = site.serve(&Serve {
        backlog: 8,
        workers: 1,
        ..Serve::new("billing", at(PORT), &[Wait(500), Reply])
    })?;
    let kept = site.clients(|| {
        let mut live = Vec::new();
        let mut kept = Vec::new();
        paced(30.0, 25, |n| {
            if n % 10 == 0 {
                live.push((Instant::now(), start(PORT)?));
            }
            let due = live.iter().take_while(|(since, _)| since.elapsed() > TIME_OUT).count();
            // A client that is not connected in time is closed, and its SYN is not sent again.
            kept.extend(live.drain(..due).filter(|(_, client)| client.peer_addr().is_ok()));
            Ok(())
        })?;
        Ok((live, kept))
    })?;
    Ok(vec![Box::new(kept), Box::new(server)])
}

/// Time after which a verdict is no longer early.
const LATER: Duration = Duration::from_secs(10);

/// Starts `count` clients at once and waits until each has had a second try.
fn burst(site: &Site, port: u16, count: u32) -> Result<Vec<Socket>> {
    site.clients(move || {
        let clients = (0..count).map(|_| start(port)).collect::<Result<Vec<_>>>()?;
        thread::sleep(Duration::from_secs(4));
        Ok(clients)
    })
}

fn burst_against_a_small_backlog(site: &Site) -> Result<Held> {
    const PORT: u16 = 8301;
    let server =
        site.serve(&Serve { backlog: 8, workers: 1, ..Serve::new("node", at(PORT), &[Wait(20), Reply]) })?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.extend(burst(site, PORT, 40)?);
        thread::sleep(Duration::from_secs(2));
    }
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn backlog_cut_by_somaxconn(site: &Site) -> Result<Held> {
    const PORT: u16 = 8302;
    site.servers.run(|| sysctl::ensure("core/somaxconn", 16))?;
    let server = site.serve(&Serve {
        backlog: 1024,
        workers: 1,
        ..Serve::new("ingress", at(PORT), &[Wait(20), Reply])
    })?;
    let clients = [burst(site, PORT, 80)?, burst(site, PORT, 80)?];
    thread::sleep(LATER);
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn somaxconn_raised(site: &Site) -> Result<Held> {
    const PORT: u16 = 8303;
    site.servers.run(|| sysctl::ensure("core/somaxconn", 16))?;
    let server = site.serve(&Serve {
        backlog: 1024,
        workers: 1,
        ..Serve::new("tengine", at(PORT), &[Wait(20), Reply])
    })?;
    site.servers.run(|| sysctl::ensure("core/somaxconn", 4096))?;
    thread::sleep(Duration::from_secs(2));
    let clients = [burst(site, PORT, 80)?, burst(site, PORT, 80)?];
    thread::sleep(LATER);
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn asked_by_the_clients_address(site: &Site) -> Result<Held> {
    const PORT: u16 = 8139;
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let server = site.serve(&Serve { backlog: 4, accepts: 1, ..Serve::new("vault", any, &[Hold]) })?;
    let clients = [burst(site, PORT, 12)?, burst(site, PORT, 1)?];
    thread::sleep(Duration::from_secs(8));
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn server_speaks_first(site: &Site) -> Result<Held> {
    const PORT: u16 = 3306;
    // With cookies, a client whose last ACK was dropped takes itself to be connected and waits for a greeting.
    site.servers.run(|| sysctl::ensure("ipv4/tcp_syncookies", 2))?;
    let how = Serve { backlog: 4, workers: 1, ..Serve::new("mysqld", at(PORT), &[Reply, Wait(900)]) };
    let server = site.serve(&how)?;
    // SYNs that come again at once, while there is room for one, leave ghosts.
    let clients = [burst(site, PORT, 20)?, burst(site, PORT, 20)?];
    thread::sleep(LATER);
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn deferred_accept(site: &Site) -> Result<Held> {
    const PORT: u16 = 8305;
    let how =
        Serve { deferred: true, backlog: 64, ..Serve::new("trafficserver", at(PORT), &[Read(64), Reply]) };
    let server = site.serve(&how)?;
    // A balancer's health check connects and closes without a byte.
    site.passing(PORT, 5.0, 8)?;
    Ok(vec![Box::new(server)])
}

fn abort_on_overflow(site: &Site) -> Result<Held> {
    const PORT: u16 = 8306;
    site.servers.run(|| sysctl::ensure("ipv4/tcp_abort_on_overflow", 1))?;
    let how = Serve { backlog: 8, workers: 1, deferred: true, ..Serve::new("legacy", at(PORT), &[Hold]) };
    let server = site.serve(&how)?;
    let clients = site.clients(|| {
        let mut clients = (0..30).map(|_| start(PORT)).collect::<Result<Vec<_>>>()?;
        thread::sleep(Duration::from_millis(500));
        for client in &mut clients {
            // A client that was reset cannot send.
            let _ = crate::sockets::send_byte(client);
        }
        thread::sleep(LATER);
        Ok(clients)
    })?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn syn_flood(site: &Site) -> Result<Held> {
    const PORT: u16 = 8307;
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let server = site.serve(&Serve { backlog: 32, ..Serve::new("shairport", any, &[Drain]) })?;
    let fake = site.servers.run(|| {
        let fake = FakePeers::create()?;
        let to = crate::sockets::localhost(Ipv4Addr::LOCALHOST, PORT);
        paced(100.0, 3, |n| fake.send(peer(n as u16), to, Segment::Syn))?;
        Ok(fake)
    })?;
    Ok(vec![Box::new(server), Box::new(fake)])
}

fn healthy_under_load(site: &Site) -> Result<Held> {
    const PORT: u16 = 8308;
    let server = site.serve(&Serve::new("envoy", at(PORT), &[Read(512), Reply, Drain]))?;
    site.clients(|| {
        paced(30.0, 15, |_| {
            request(&mut connect(PORT)?)?;
            Ok(())
        })
    })?;
    Ok(vec![Box::new(server)])
}
