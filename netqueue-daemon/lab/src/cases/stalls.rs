//! Cases about servers that stop accepting: for good, for a while, or because they are at a limit.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use socket2::Socket;

use super::server::Act::{Drain, Hold, Read, Reply, Wait};
use super::server::Serve;
use super::site::{Site, at, connect, paced, start};
use super::{Case, Held};
use crate::sysctl;

pub(super) const CASES: &[Case] = &[
    Case { name: "stopped-with-a-full-queue", provoke: stopped_with_a_full_queue },
    Case { name: "stall-that-is-over", provoke: stall_that_is_over },
    Case { name: "out-of-file-descriptors", provoke: out_of_file_descriptors },
    Case { name: "accept-loop-ended", provoke: accept_loop_ended },
    Case { name: "server-at-its-connection-limit", provoke: server_at_its_connection_limit },
    Case { name: "long-waits-without-drops", provoke: long_waits_without_drops },
    Case { name: "one-slow-request-blocks-the-loop", provoke: one_slow_request },
    Case { name: "single-threaded-server-held-by-idle-client", provoke: held_by_an_idle_client },
    Case { name: "worker-stopped-in-a-reuseport-group", provoke: worker_stopped_in_a_group },
    Case { name: "worker-exits-with-a-queue", provoke: worker_exits_with_a_queue },
    Case { name: "restarted-while-overloaded", provoke: restarted_while_overloaded },
    Case { name: "dead-clients-after-a-stall", provoke: dead_clients_after_a_stall },
    Case { name: "ghosts-after-the-listener-went", provoke: ghosts_after_the_listener_went },
];

/// Starts clients at a steady rate, which wait for nothing.
fn knock(site: &Site, port: u16, per_second: f64, seconds: u64) -> Result<Vec<Socket>> {
    site.clients(move || {
        let mut clients = Vec::new();
        paced(per_second, seconds, |_| {
            clients.push(start(port)?);
            Ok(())
        })?;
        Ok(clients)
    })
}

fn stopped_with_a_full_queue(site: &Site) -> Result<Held> {
    const PORT: u16 = 8201;
    let server =
        site.serve(&Serve { backlog: 16, ..Serve::new("checkout", at(PORT), &[Read(64), Reply]) })?;
    server.signal(Signal::SIGSTOP)?;
    let clients = knock(site, PORT, 4.0, 18)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn stall_that_is_over(site: &Site) -> Result<Held> {
    const PORT: u16 = 8202;
    let server = site.serve(&Serve { backlog: 8, ..Serve::new("search", at(PORT), &[Read(64), Reply]) })?;
    server.signal(Signal::SIGSTOP)?;
    let clients = knock(site, PORT, 4.0, 6)?;
    server.signal(Signal::SIGCONT)?;
    thread::sleep(Duration::from_secs(8));
    site.clients(|| {
        paced(5.0, 12, |_| {
            let mut client = connect(PORT)?;
            super::site::request(&mut client)?;
            Ok(())
        })
    })?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn out_of_file_descriptors(site: &Site) -> Result<Held> {
    const PORT: u16 = 8203;
    let server = site.serve(&Serve {
        backlog: 16,
        open_files: 32,
        workers: 0,
        ..Serve::new("redis-server", at(PORT), &[Hold])
    })?;
    let clients = knock(site, PORT, 6.0, 24)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn accept_loop_ended(site: &Site) -> Result<Held> {
    const PORT: u16 = 8204;
    let server =
        site.serve(&Serve { backlog: 8, accepts: 3, ..Serve::new("dotnet", at(PORT), &[Read(64), Reply]) })?;
    let clients = knock(site, PORT, 2.0, 22)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn server_at_its_connection_limit(site: &Site) -> Result<Held> {
    const PORT: u16 = 8205;
    // Twenty connections at once, each for four seconds: five a second, and ten arrive.
    let server = site.serve(&Serve {
        backlog: 32,
        workers: 20,
        ..Serve::new("haproxy", at(PORT), &[Wait(4000), Reply])
    })?;
    let clients = knock(site, PORT, 10.0, 25)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn long_waits_without_drops(site: &Site) -> Result<Held> {
    const PORT: u16 = 8206;
    let server = site.serve(&Serve {
        backlog: 1024,
        workers: 1,
        ..Serve::new("reports", at(PORT), &[Wait(500), Reply])
    })?;
    let clients = knock(site, PORT, 5.0, 25)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn one_slow_request(site: &Site) -> Result<Held> {
    const PORT: u16 = 8207;
    // An event loop that one request keeps busy for ten seconds, with 8 places in its queue.
    let server = site.serve(&Serve {
        backlog: 8,
        workers: 1,
        ..Serve::new("node", at(PORT), &[Wait(10_000), Reply])
    })?;
    let clients = knock(site, PORT, 2.0, 24)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn held_by_an_idle_client(site: &Site) -> Result<Held> {
    const PORT: u16 = 8208;
    // One connection at a time, until its client closes: a browser's spare connection holds it for ever.
    let server =
        site.serve(&Serve { backlog: 5, workers: 1, ..Serve::new("werkzeug", at(PORT), &[Drain]) })?;
    let spare = site.clients(|| connect(PORT))?;
    let clients = knock(site, PORT, 1.0, 20)?;
    Ok(vec![Box::new(spare), Box::new(clients), Box::new(server)])
}

fn worker_stopped_in_a_group(site: &Site) -> Result<Held> {
    const PORT: u16 = 8209;
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let member = Serve { backlog: 8, group: 1, ..Serve::new("nginx", any, &[Read(64), Reply]) };
    let healthy = [site.serve_now(&member)?, site.serve_now(&member)?];
    let stopped = site.serve(&member)?;
    stopped.signal(Signal::SIGSTOP)?;
    let clients = knock(site, PORT, 8.0, 20)?;
    Ok(vec![Box::new(clients), Box::new(healthy), Box::new(stopped)])
}

fn worker_exits_with_a_queue(site: &Site) -> Result<Held> {
    const PORT: u16 = 8210;
    let any = (Ipv4Addr::UNSPECIFIED, PORT);
    let member = Serve { backlog: 64, group: 1, ..Serve::new("granian", any, &[Read(64), Reply]) };
    let healthy = site.serve_now(&member)?;
    let mut leaving = site.serve(&member)?;
    leaving.signal(Signal::SIGSTOP)?;
    let clients = knock(site, PORT, 20.0, 2)?;
    leaving.kill()?;
    thread::sleep(Duration::from_secs(2));
    Ok(vec![Box::new(clients), Box::new(healthy)])
}

fn restarted_while_overloaded(site: &Site) -> Result<Held> {
    const PORT: u16 = 8211;
    let how = Serve { backlog: 4, workers: 1, ..Serve::new("orders", at(PORT), &[Wait(1000), Reply]) };
    let mut server = site.serve(&how)?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(knock(site, PORT, 4.0, 7)?);
        server.kill()?;
        server = site.serve_now(&how)?;
    }
    // After the last restart nobody comes any more.
    drop(clients);
    thread::sleep(Duration::from_secs(10));
    Ok(vec![Box::new(server)])
}

fn dead_clients_after_a_stall(site: &Site) -> Result<Held> {
    const PORT: u16 = 8212;
    let server = site.serve(&Serve { backlog: 256, ..Serve::new("tomcat", at(PORT), &[Read(64), Reply]) })?;
    server.signal(Signal::SIGSTOP)?;
    site.clients(|| {
        // Each client gives up after two seconds in the queue.
        let mut live = std::collections::VecDeque::new();
        paced(5.0, 20, |_| {
            live.push_back(connect(PORT)?);
            if live.len() > 10 {
                live.pop_front();
            }
            Ok(())
        })
    })?;
    server.signal(Signal::SIGCONT)?;
    thread::sleep(Duration::from_secs(3));
    Ok(vec![Box::new(server)])
}

fn ghosts_after_the_listener_went(site: &Site) -> Result<Held> {
    const PORT: u16 = 8154;
    site.servers.run(|| sysctl::ensure("ipv4/tcp_syncookies", 2))?;
    let mut server =
        site.serve(&Serve { backlog: 4, workers: 1, ..Serve::new("imapd", at(PORT), &[Wait(400)]) })?;
    // SYNs that come again at once, while there is room for one, leave ghosts.
    let clients = knock(site, PORT, 500.0, 1)?;
    thread::sleep(Duration::from_secs(4));
    server.kill()?;
    thread::sleep(Duration::from_secs(1));
    site.clients(move || {
        for client in &clients {
            // A client whose handshake is not complete cannot send.
            let _ = crate::sockets::send_byte(client);
        }
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    Ok(Vec::new())
}
