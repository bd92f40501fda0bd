//! Cases about connections that find no listener: none there, one elsewhere, or one that has ended.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::server::Act::{Hold, Read, Reply, Wait};
use super::server::Serve;
use super::site::{Site, at, connect, paced, request};
use super::{Case, Held};
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};

pub(super) const CASES: &[Case] = &[
    Case { name: "killed-server", provoke: killed_server },
    Case { name: "bound-to-loopback-only", provoke: bound_to_loopback_only },
    Case { name: "ipv6-only", provoke: ipv6_only },
    Case { name: "wrong-target-port", provoke: wrong_target_port },
    Case { name: "nothing-ever-listened", provoke: nothing_ever_listened },
    Case { name: "service-went-down", provoke: service_went_down },
    Case { name: "restarted-under-keep-alive", provoke: restarted_under_keep_alive },
    Case { name: "terminated-with-connections-open", provoke: terminated },
    Case { name: "ephemeral-port-server-down", provoke: ephemeral_port_server_down },
    Case { name: "drains-with-its-listener-open", provoke: drains_with_its_listener_open },
    Case { name: "crash-loop", provoke: crash_loop },
    Case { name: "stray-segments-at-a-client", provoke: stray_segments },
    Case { name: "failover-to-a-fresh-host", provoke: failover },
];

/// Connects `count` clients and has each served once.
fn served(site: &Site, port: u16, count: u32) -> Result<Vec<TcpStream>> {
    site.clients(move || {
        (0..count)
            .map(|_| {
                let mut client = connect(port)?;
                request(&mut client)?;
                Ok(client)
            })
            .collect()
    })
}

/// Has each client send twice more.
fn send_on(site: &Site, mut clients: Vec<TcpStream>) -> Result<()> {
    site.clients(move || {
        for client in &mut clients {
            for _ in 0..2 {
                // Fails where the kernel has already answered with a reset.
                let _ = client.write_all(b"again");
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    })
}

fn killed_server(site: &Site) -> Result<Held> {
    const PORT: u16 = 7001;
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let mut server = site.serve(&Serve::new("payments", any, &[Read(512), Reply, Hold]))?;
    let mut clients = served(site, PORT, 12)?;
    let clients = site.clients(move || {
        for client in &mut clients[..4] {
            client.write_all(b"more")?;
        }
        Ok(clients)
    })?;
    thread::sleep(Duration::from_secs(1));
    server.kill()?;
    thread::sleep(Duration::from_secs(1));
    send_on(site, clients)?;
    Ok(Vec::new())
}

fn refused(port: u16, times: u32) -> Result<()> {
    for _ in 0..times {
        // Refused, as intended.
        drop(connect(port));
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn bound_to_loopback_only(site: &Site) -> Result<Held> {
    const PORT: u16 = 7010;
    let server = site.serve(&Serve::new("api", (Ipv4Addr::LOCALHOST, PORT), &[Read(64)]))?;
    site.clients(|| refused(PORT, 5))?;
    Ok(vec![Box::new(server)])
}

fn ipv6_only(site: &Site) -> Result<Held> {
    const PORT: u16 = 7011;
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let server = site.serve(&Serve { only_v6: true, ..Serve::new("api6", any, &[Read(64)]) })?;
    site.clients(|| refused(PORT, 5))?;
    Ok(vec![Box::new(server)])
}

fn wrong_target_port(site: &Site) -> Result<Held> {
    let server = site.serve(&Serve::new("web", (Ipv4Addr::UNSPECIFIED, 7112), &[Read(64)]))?;
    site.clients(|| refused(7012, 5))?;
    Ok(vec![Box::new(server)])
}

fn nothing_ever_listened(site: &Site) -> Result<Held> {
    site.clients(|| refused(7013, 6))?;
    Ok(Vec::new())
}

fn service_went_down(site: &Site) -> Result<Held> {
    const PORT: u16 = 7014;
    let mut server = site.serve(&Serve::new("cart", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(512), Reply]))?;
    drop(served(site, PORT, 5)?);
    server.kill()?;
    thread::sleep(Duration::from_secs(2));
    site.clients(|| refused(PORT, 20))?;
    Ok(Vec::new())
}

fn restarted_under_keep_alive(site: &Site) -> Result<Held> {
    const PORT: u16 = 7015;
    let how = Serve::new("controller", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(512), Reply, Hold]);
    let mut server = site.serve(&how)?;
    let clients = served(site, PORT, 10)?;
    server.kill()?;
    let next = site.serve(&how)?;
    send_on(site, clients)?;
    Ok(vec![Box::new(next)])
}

fn terminated(site: &Site) -> Result<Held> {
    const PORT: u16 = 7016;
    let server =
        site.serve(&Serve::new("uvicorn", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(512), Reply, Hold]))?;
    let clients = served(site, PORT, 8)?;
    server.signal(Signal::SIGTERM)?;
    thread::sleep(Duration::from_secs(1));
    send_on(site, clients)?;
    Ok(vec![Box::new(server)])
}

fn ephemeral_port_server_down(site: &Site) -> Result<Held> {
    const PORT: u16 = 50000;
    let mut server =
        site.serve(&Serve::new("jenkins", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(64), Reply, Wait(100)]))?;
    drop(served(site, PORT, 3)?);
    server.kill()?;
    thread::sleep(Duration::from_secs(1));
    site.clients(|| refused(PORT, 12))?;
    Ok(Vec::new())
}

fn drains_with_its_listener_open(site: &Site) -> Result<Held> {
    const PORT: u16 = 7019;
    // Told to stop, it serves its last requests for ten seconds and keeps a listener from which it accepts no more.
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let mut server =
        site.serve(&Serve { accepts: 4, ..Serve::new("tonic", any, &[Read(512), Reply, Hold]) })?;
    let busy = served(site, PORT, 4)?;
    let waiting = site.clients(|| {
        let mut waiting = Vec::new();
        paced(3.0, 10, |_| {
            waiting.push(connect(PORT)?);
            Ok(())
        })?;
        Ok(waiting)
    })?;
    server.kill()?;
    thread::sleep(Duration::from_secs(1));
    Ok(vec![Box::new(busy), Box::new(waiting)])
}

fn crash_loop(site: &Site) -> Result<Held> {
    const PORT: u16 = 7018;
    let how = Serve::new("worker", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(64), Reply]);
    for _ in 0..4 {
        let mut server = site.serve_now(&how)?;
        thread::sleep(Duration::from_secs(1));
        server.kill()?;
        site.clients(|| refused(PORT, 10))?;
    }
    Ok(Vec::new())
}

fn stray_segments(site: &Site) -> Result<Held> {
    // This host is a client, and has a connection of its own.
    let server = site.serve(&Serve::new("backend", at(8080), &[Read(512), Reply, Hold]))?;
    let healthy = served(site, 8080, 1)?;
    let fake = site.clients(|| {
        let fake = FakePeers::create()?;
        for n in 0..40 {
            let to = (Ipv4Addr::LOCALHOST, 40_000 + n).into();
            let from = (peer(n % 4).ip(), 8080).into();
            fake.send(from, to, Segment::Data { ack: 2000 })?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(fake)
    })?;
    Ok(vec![Box::new(server), Box::new(healthy), Box::new(fake)])
}

fn failover(site: &Site) -> Result<Held> {
    const PORT: u16 = 7017;
    // The address has come to a host that has the service, and none of its connections.
    let server = site.serve(&Serve::new("haproxy", (Ipv4Addr::UNSPECIFIED, PORT), &[Read(512), Reply]))?;
    let fake = site.servers.run(|| {
        let fake = FakePeers::create()?;
        paced(10.0, 4, |n| {
            let to = (Ipv4Addr::LOCALHOST, PORT).into();
            fake.send(peer(n as u16), to, Segment::Data { ack: 4000 })
        })?;
        Ok(fake)
    })?;
    let mut client = site.clients(|| connect(PORT))?;
    request(&mut client)?;
    Ok(vec![Box::new(server), Box::new(fake), Box::new(client)])
}
