//! Cases in which this host's TCP harms nobody, or in which the cause is out of netqueue's sight.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use super::server::Act::{Alert, Drain, Hold, Read, Reply, Wait};
use super::server::{CLOSE_NOTIFY, Serve};
use super::site::{STRANGER, Site, at, connect, paced, request};
use super::{Case, Held};
use crate::netlink;
use crate::packet::Segment;
use crate::raw::{FakePeers, peer};
use crate::{sys, sysctl};

pub(super) const CASES: &[Case] = &[
    Case { name: "tls-close-notify", provoke: tls_close_notify },
    Case { name: "health-checks-that-reset", provoke: health_checks_that_reset },
    Case { name: "half-open-health-checks", provoke: half_open_health_checks },
    Case { name: "checks-that-connect-and-close", provoke: checks_that_close },
    Case { name: "port-scan", provoke: port_scan },
    Case { name: "clients-reset-their-connections", provoke: clients_reset },
    Case { name: "reverse-path-filter", provoke: reverse_path_filter },
    Case { name: "md5-key-missing", provoke: md5_key_missing },
    Case { name: "backend-resets-this-client", provoke: backend_resets },
    Case { name: "unix-socket-full", provoke: unix_socket_full },
    Case { name: "idle-host", provoke: idle_host },
    Case { name: "healthy-https-host", provoke: healthy_https_host },
    Case { name: "pool-that-closes-late", provoke: pool_that_closes_late },
];

const fn any(port: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::UNSPECIFIED, port)
}

fn tls_close_notify(site: &Site) -> Result<Held> {
    const PORT: u16 = 8443;
    let server = site.serve(&Serve::new("nginx", any(PORT), &[Read(99), Reply, Wait(700), Alert]))?;
    site.clients(|| {
        for _ in 0..10 {
            let mut client = connect(PORT)?;
            request(&mut client)?;
            while client.read(&mut [0; 999])? > 0 {}
            // Both ends have said goodbye; the server's socket is gone.
            let _ = std::io::Write::write_all(&mut client, &CLOSE_NOTIFY);
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

/// Connects and resets, as checks of balancers do.
fn check(port: u16) -> Result<()> {
    let client = connect(port)?;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

fn health_checks_that_reset(site: &Site) -> Result<Held> {
    const PORT: u16 = 7201;
    let server = site.serve(&Serve::new("tengine", any(PORT), &[Drain]))?;
    site.clients(|| paced(5.0, 8, |_| check(PORT)))?;
    Ok(vec![Box::new(server)])
}

fn half_open_health_checks(site: &Site) -> Result<Held> {
    const PORT: u16 = 7202;
    let server = site.serve(&Serve::new("web", any(PORT), &[Drain]))?;
    let fake = site.servers.run(|| {
        let fake = FakePeers::create()?;
        let to: SocketAddr = (Ipv4Addr::LOCALHOST, PORT).into();
        paced(5.0, 8, |n| {
            let n = n as u16;
            fake.send(peer(n), to, Segment::Syn)?;
            thread::sleep(Duration::from_millis(50));
            fake.send(peer(n), to, Segment::Rst)
        })?;
        Ok(fake)
    })?;
    Ok(vec![Box::new(server), Box::new(fake)])
}

fn checks_that_close(site: &Site) -> Result<Held> {
    const PORT: u16 = 7203;
    let server = site.serve(&Serve::new("postgres", any(PORT), &[Read(64), Reply]))?;
    site.passing(PORT, 5.0, 8)?;
    Ok(vec![Box::new(server)])
}

fn port_scan(site: &Site) -> Result<Held> {
    let server = site.serve(&Serve::new("web", any(8080), &[Drain]))?;
    site.clients(|| {
        for port in 9001..9060 {
            // Refused, as a scan expects.
            drop(connect(port));
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

/// Events of a healthy host with HTTPS, one after the other.
fn healthy_https_host(site: &Site) -> Result<Held> {
    let day = [
        tls_close_notify,
        health_checks_that_reset,
        half_open_health_checks,
        checks_that_close,
        port_scan,
        clients_reset,
        pool_that_closes_late,
    ];
    let mut held = Held::new();
    for hour in day {
        held.extend(hour(site)?);
    }
    Ok(held)
}

fn pool_that_closes_late(site: &Site) -> Result<Held> {
    const PORT: u16 = 7204;
    // The server's side is gone when the pool closes its own.
    site.servers.run(|| sysctl::ensure("ipv4/tcp_fin_timeout", 2))?;
    let server = site.serve(&Serve::new("envoy", any(PORT), &[Read(512), Reply, Wait(500)]))?;
    site.clients(|| {
        let mut pool = (0..10).map(|_| connect(PORT)).collect::<Result<Vec<_>>>()?;
        for client in &mut pool {
            request(client)?;
        }
        thread::sleep(Duration::from_secs(5));
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

fn clients_reset(site: &Site) -> Result<Held> {
    const PORT: u16 = 7042;
    let server = site.serve(&Serve::new("svc", any(PORT), &[Read(512), Reply, Drain]))?;
    site.clients(|| {
        paced(2.0, 8, |_| {
            let mut client = connect(PORT)?;
            request(&mut client)?;
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            Ok(())
        })
    })?;
    Ok(vec![Box::new(server)])
}

fn reverse_path_filter(site: &Site) -> Result<Held> {
    const PORT: u16 = 7043;
    site.servers.run(|| {
        sysctl::ensure("ipv4/conf/all/rp_filter", 1)?;
        sysctl::ensure("ipv4/conf/nq-wire/rp_filter", 1)
    })?;
    let server = site.serve(&Serve::new("svc", any(PORT), &[Drain]))?;
    // Nothing is charged there, so the namespace is found by the regular search only.
    thread::sleep(Duration::from_secs(45));
    let clients = site.clients(|| {
        // The filter drops ARP requests from a stranger too: the server is to be a known neighbour.
        drop(connect(PORT)?);
        netlink::address("nq-wire", STRANGER, 32)?;
        let mut clients = Vec::new();
        paced(2.0, 6, |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            client.bind(&SocketAddr::from((STRANGER, 0)).into())?;
            client.set_nonblocking(true)?;
            // In progress, and it stays so: the SYN is dropped before TCP.
            let _ = client.connect(&at(PORT).into());
            clients.push(client);
            Ok(())
        })?;
        Ok(clients)
    })?;
    // Quiet namespaces are read seldom.
    thread::sleep(Duration::from_secs(20));
    Ok(vec![Box::new(server), Box::new(clients)])
}

fn md5_key_missing(site: &Site) -> Result<Held> {
    const PORT: u16 = 179;
    let listener = site.servers.run(|| {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        listener.bind(&SocketAddr::from(any(PORT)).into())?;
        sys::md5_key(&listener, super::site::CLIENT, b"key")?;
        listener.listen(16)?;
        Ok(listener)
    })?;
    thread::sleep(Duration::from_secs(2));
    let clients = site.clients(|| {
        let mut clients = Vec::new();
        paced(2.0, 6, |_| {
            clients.push(super::site::start(PORT)?);
            Ok(())
        })?;
        Ok(clients)
    })?;
    Ok(vec![Box::new(listener), Box::new(clients)])
}

fn backend_resets(site: &Site) -> Result<Held> {
    const PORT: u16 = 7044;
    // This host is the proxy: its namespace is the clients', and the backend resets what it sends.
    let server = site.serve(&Serve::new("backend", any(PORT), &[Read(8), Wait(20)]))?;
    site.clients(|| {
        for _ in 0..8 {
            // Reset by the backend: the 502 of a proxy.
            let _ = request(&mut connect(PORT)?);
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

fn unix_socket_full(site: &Site) -> Result<Held> {
    let (listener, clients) = site.servers.run(|| {
        let address = socket2::SockAddr::unix("\0php-fpm.sock")?;
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        listener.bind(&address)?;
        listener.listen(5)?;
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                client.set_nonblocking(true)?;
                // "Resource temporarily unavailable" from the seventh on.
                let _ = client.connect(&address);
                Ok(client)
            })
            .collect::<Result<_>>()?;
        Ok((listener, clients))
    })?;
    thread::sleep(Duration::from_secs(3));
    Ok(vec![Box::new(listener), Box::new(clients)])
}

fn idle_host(site: &Site) -> Result<Held> {
    let server = site.serve(&Serve::new("web", any(8080), &[Hold]))?;
    thread::sleep(Duration::from_secs(3));
    Ok(vec![Box::new(server)])
}
