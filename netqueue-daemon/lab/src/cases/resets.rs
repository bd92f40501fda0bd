//! Cases about resets that a server's kernel sends on connections of a listener.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::server::Act::{Again, Finish, Hold, Read, Reply, Reset, Wait};
use super::server::Serve;
use super::site::{Site, connect, request};
use super::{Case, Held};
use crate::experiments::established::Established;
use crate::host_setting::HostSetting;
use crate::sockets::Family;

pub(super) const CASES: &[Case] = &[
    Case { name: "server-in-the-ephemeral-range", provoke: server_in_the_ephemeral_range },
    Case { name: "keep-alive-race", provoke: keep_alive_race },
    Case { name: "too-many-orphans", provoke: too_many_orphans },
    Case { name: "keep-alive-race-after-minutes", provoke: keep_alive_race_later },
    Case { name: "idle-time-out-of-redis", provoke: idle_time_out_of_redis },
    Case { name: "maximum-of-requests", provoke: maximum_of_requests },
    Case { name: "body-unread-413", provoke: body_unread },
    Case { name: "early-401", provoke: early_refusal },
    Case { name: "closed-right-after-accept", provoke: closed_right_after_accept },
    Case { name: "closed-with-linger-zero", provoke: closed_with_linger_zero },
    Case { name: "closed-with-unread-data", provoke: closed_with_unread_data },
    Case { name: "half-closed-and-answered", provoke: half_closed },
];

const fn any(port: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::UNSPECIFIED, port)
}

fn server_in_the_ephemeral_range(site: &Site) -> Result<Held> {
    const PORT: u16 = 50051;
    let server = site.serve(&Serve::new("grpcsrv", any(PORT), &[Read(4), Wait(100)]))?;
    site.clients(|| {
        for _ in 0..10 {
            let mut client = connect(PORT)?;
            client.write_all(b"PRI * HTTP/2.0\r\n")?;
            // The reset is what the case is about.
            let _ = client.read(&mut [0; 9]);
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

/// Has clients use connections once more, this long after the server has answered.
fn race(site: &Site, port: u16, idle: Duration, rounds: u32) -> Result<()> {
    site.clients(move || {
        for _ in 0..rounds {
            let mut clients = (0..4).map(|_| connect(port)).collect::<Result<Vec<_>>>()?;
            for client in &mut clients {
                request(client)?;
            }
            thread::sleep(idle);
            for client in &mut clients {
                // The server has closed: what the case is about.
                let _ = request(client);
            }
        }
        Ok(())
    })
}

fn too_many_orphans(site: &Site) -> Result<Held> {
    const PORT: u16 = 7120;
    let mut side = site.servers.run(|| Established::with(Family::V4, PORT, 12))?;
    // Peers that are gone never acknowledge the FIN.
    side.accepted.truncate(4);
    thread::sleep(Duration::from_millis(2500));
    let limit = HostSetting::change("net/ipv4/tcp_max_orphans", 4)?;
    side.close_all();
    thread::sleep(Duration::from_secs(4));
    Ok(vec![Box::new((side, limit))])
}

fn keep_alive_race(site: &Site) -> Result<Held> {
    const PORT: u16 = 7101;
    let server = site.serve(&Serve::new("nginx", any(PORT), &[Read(512), Reply, Wait(2000)]))?;
    race(site, PORT, Duration::from_millis(2100), 5)?;
    Ok(vec![Box::new(server)])
}

fn keep_alive_race_later(site: &Site) -> Result<Held> {
    const PORT: u16 = 7102;
    // The server keeps its socket half-closed for a moment only; the clients come later.
    let server = site.serve(&Serve::new("node", any(PORT), &[Read(512), Reply, Wait(5000)]))?;
    race(site, PORT, Duration::from_millis(5400), 3)?;
    Ok(vec![Box::new(server)])
}

fn idle_time_out_of_redis(site: &Site) -> Result<Held> {
    const PORT: u16 = 6379;
    let server = site.serve(&Serve::new("redis-server", any(PORT), &[Read(512), Reply, Wait(3000)]))?;
    race(site, PORT, Duration::from_millis(3200), 4)?;
    Ok(vec![Box::new(server)])
}

fn maximum_of_requests(site: &Site) -> Result<Held> {
    const PORT: u16 = 7109;
    // The server closes after the third response, and the client's next request is under way.
    let acts = [Read(512), Reply, Read(512), Reply, Read(512), Reply];
    let server = site.serve(&Serve::new("nginx", any(PORT), &acts))?;
    site.clients(|| {
        for _ in 0..8 {
            let mut client = connect(PORT)?;
            for _ in 0..4 {
                // The fourth is reset: what the case is about.
                let _ = request(&mut client);
            }
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

/// Has clients send a body in pieces, whatever the server answers meanwhile.
fn upload(port: u16, pieces: u32) -> Result<()> {
    for _ in 0..5 {
        let mut client = connect(port)?;
        client.write_all(b"POST /upload HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")?;
        for _ in 0..pieces {
            if client.write_all(&[b'x'; 4000]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn body_unread(site: &Site) -> Result<Held> {
    const PORT: u16 = 7103;
    let server = site.serve(&Serve::new("rocket", any(PORT), &[Read(64), Wait(100), Reply]))?;
    site.clients(|| upload(PORT, 40))?;
    Ok(vec![Box::new(server)])
}

fn early_refusal(site: &Site) -> Result<Held> {
    const PORT: u16 = 7104;
    let server = site.serve(&Serve::new("akka", any(PORT), &[Read(16), Reply]))?;
    site.clients(|| upload(PORT, 3))?;
    Ok(vec![Box::new(server)])
}

fn closed_right_after_accept(site: &Site) -> Result<Held> {
    const PORT: u16 = 7105;
    let server = site.serve(&Serve::new("sshd", any(PORT), &[]))?;
    site.clients(|| {
        for _ in 0..15 {
            let mut client = connect(PORT)?;
            thread::sleep(Duration::from_millis(100));
            // The server has closed: what the case is about.
            let _ = client.write_all(b"SSH-2.0-client\r\n");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    })?;
    Ok(vec![Box::new(server)])
}

/// Has clients make a request each and read until the end.
fn requests(port: u16, count: u32) -> Result<()> {
    for _ in 0..count {
        let mut client = connect(port)?;
        // The reset may come before the response is read.
        let _ = request(&mut client);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn closed_with_linger_zero(site: &Site) -> Result<Held> {
    const PORT: u16 = 7106;
    let server = site.serve(&Serve::new("netty", any(PORT), &[Read(512), Reply, Wait(50), Reset]))?;
    site.clients(|| requests(PORT, 12))?;
    Ok(vec![Box::new(server)])
}

fn closed_with_unread_data(site: &Site) -> Result<Held> {
    const PORT: u16 = 7107;
    let server = site.serve(&Serve::new("gateway", any(PORT), &[Read(8), Wait(50)]))?;
    site.clients(|| requests(PORT, 12))?;
    Ok(vec![Box::new(server)])
}

fn half_closed(site: &Site) -> Result<Held> {
    const PORT: u16 = 7108;
    // It says that it has ended, and goes on reading: nothing is reset.
    let server =
        site.serve(&Serve::new("proxy", any(PORT), &[Read(512), Reply, Finish, Read(512), Again, Hold]))?;
    site.clients(|| requests(PORT, 12))?;
    Ok(vec![Box::new(server)])
}
