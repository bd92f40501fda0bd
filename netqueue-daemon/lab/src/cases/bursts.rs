//! Cases about bursts and overloads that differ by size and pace.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use socket2::Socket;

use super::server::Act::{Hold, Read, Reply, Wait};
use super::server::Serve;
use super::site::{Site, at, paced, start};
use super::{Case, Held};

pub(super) const CASES: &[Case] = &[
    Case { name: "backlog-of-zero", provoke: backlog_of_zero },
    Case { name: "default-backlog-of-five", provoke: default_backlog_of_five },
    Case { name: "reconnect-storm", provoke: reconnect_storm },
    Case { name: "less-than-one-a-second", provoke: less_than_one_a_second },
    Case { name: "slow-start-before-the-first-accept", provoke: slow_start },
    Case { name: "two-services-one-overloaded", provoke: two_services },
];

/// Starts `count` clients at once; waits until all that the server can serve are served.
fn at_once(site: &Site, port: u16, count: u32) -> Result<Vec<Socket>> {
    site.clients(move || {
        let clients = (0..count).map(|_| start(port)).collect::<Result<Vec<_>>>()?;
        thread::sleep(Duration::from_secs(5));
        Ok(clients)
    })
}

fn backlog_of_zero(site: &Site) -> Result<Held> {
    const PORT: u16 = 8401;
    let how = Serve { backlog: 0, workers: 1, ..Serve::new("mio-app", at(PORT), &[Wait(5), Reply]) };
    let server = site.serve(&how)?;
    let clients = [at_once(site, PORT, 10)?, at_once(site, PORT, 10)?, at_once(site, PORT, 10)?];
    thread::sleep(Duration::from_secs(2));
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn default_backlog_of_five(site: &Site) -> Result<Held> {
    const PORT: u16 = 8402;
    let how = Serve { backlog: 5, workers: 1, ..Serve::new("python3", at(PORT), &[Wait(30), Reply]) };
    let server = site.serve(&how)?;
    let clients = [at_once(site, PORT, 16)?, at_once(site, PORT, 16)?, at_once(site, PORT, 16)?];
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn reconnect_storm(site: &Site) -> Result<Held> {
    const PORT: u16 = 8403;
    // Ten milliseconds for each handshake of TLS, in the thread that accepts.
    let how = Serve { backlog: 128, workers: 1, ..Serve::new("mosquitto", at(PORT), &[Wait(10), Reply]) };
    let server = site.serve(&how)?;
    let clients = at_once(site, PORT, 300)?;
    thread::sleep(Duration::from_secs(12));
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn less_than_one_a_second(site: &Site) -> Result<Held> {
    const PORT: u16 = 8404;
    let how = Serve { backlog: 2, workers: 1, ..Serve::new("pdf", at(PORT), &[Wait(2000), Reply]) };
    let server = site.serve(&how)?;
    let clients = site.arriving(PORT, 0.8, 40)?;
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn slow_start(site: &Site) -> Result<Held> {
    const PORT: u16 = 8405;
    // It listens, and then loads for ten seconds before it accepts.
    let how = Serve { backlog: 16, ..Serve::new("java", at(PORT), &[Read(64), Reply, Hold]) };
    let server = site.serve(&how)?;
    server.signal(Signal::SIGSTOP)?;
    let clients = site.arriving(PORT, 3.0, 10)?;
    server.signal(Signal::SIGCONT)?;
    thread::sleep(Duration::from_secs(12));
    Ok(vec![Box::new(clients), Box::new(server)])
}

fn two_services(site: &Site) -> Result<Held> {
    const BUSY: u16 = 8406;
    const IDLE: u16 = 8407;
    let busy = Serve { backlog: 8, workers: 1, ..Serve::new("thumbs", at(BUSY), &[Wait(400), Reply]) };
    let busy = site.serve_now(&busy)?;
    let idle = site.serve(&Serve::new("static", at(IDLE), &[Read(64), Reply]))?;
    let clients = site.clients(|| {
        let mut clients = Vec::new();
        paced(6.0, 22, |n| {
            clients.push(start(if n % 6 == 0 { IDLE } else { BUSY })?);
            Ok(())
        })?;
        Ok(clients)
    })?;
    Ok(vec![Box::new(clients), Box::new(busy), Box::new(idle)])
}
