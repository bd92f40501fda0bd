//! `netqueue lab demo`: a gentle mixture of healthy and unhealthy traffic, until stopped.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::unistd::getppid;
use socket2::Socket;

use super::netns::Netns;
use super::packet::Segment;
use super::raw::{FakePeers, peer};
use super::sockets::{self, Listener, connect, connect_nonblocking, localhost, send_byte};
use super::sysctl;

const TICK: Duration = Duration::from_millis(100);

const HEALTHY: u16 = 8080;
const SLOW: u16 = 8081;
const STUCK: u16 = 8082;
const FLOODED: u16 = 8083;
const CARELESS: u16 = 8084;
const CLOSED: u16 = 8085;

/// Runs until a signal ends the process or its parent ends.
pub(super) fn run() -> Result<ExitCode> {
    sockets::raise_descriptor_limit()?;
    let netns = Netns::create()?;
    let inode = netns.inode();
    writeln!(
        std::io::stdout().lock(),
        "lab demo: network namespace {inode}\n  {HEALTHY} healthy\n  {SLOW} accepts too slowly: overflows at the final ACK\n  \
         {STUCK} never accepts: overflows at SYN time\n  {FLOODED} a small SYN flood, absorbed by cookies\n  \
         {CARELESS} closes with unread data: resets\n  {CLOSED} closed: resets"
    )?;
    let parent = getppid();
    netns.run(move || {
        let mut stage = Stage::build()?;
        while getppid() == parent {
            stage.tick()?;
            thread::sleep(TICK);
        }
        Ok(ExitCode::SUCCESS)
    })
}

struct Stage {
    healthy: Listener,
    slow: Listener,
    stuck: Listener,
    flooded: Listener,
    careless: Listener,
    fake: FakePeers,
    /// Clients that fill the stuck listener's queue; it never accepts.
    _queued: Vec<Socket>,
    /// Clients of the slow listener, oldest first.
    waiting: VecDeque<Socket>,
    ticks: u64,
}

impl Stage {
    fn build() -> Result<Self> {
        sysctl::defaults()?;
        let stuck = Listener::ipv4(STUCK, 4)?;
        let queued = stuck.fill(5, false)?;
        let slow = Listener::ipv4(SLOW, 8)?;
        slow.defer_accept()?;
        Ok(Self {
            healthy: Listener::ipv4(HEALTHY, 128)?,
            slow,
            stuck,
            flooded: Listener::ipv4(FLOODED, 4)?,
            careless: Listener::ipv4(CARELESS, 16)?,
            fake: FakePeers::create()?,
            _queued: queued,
            waiting: VecDeque::new(),
            ticks: 0,
        })
    }

    fn tick(&mut self) -> Result<()> {
        self.ticks += 1;
        serve(&self.healthy)?;
        self.overflow_at_final_ack()?;
        if self.ticks.is_multiple_of(2) {
            // Close before the first retransmission, so that each client causes one drop.
            drop(connect_nonblocking(self.stuck.loopback())?);
        }
        let n = (self.ticks % 500) as u16;
        self.fake.send(peer(n), self.flooded.loopback(), Segment::Syn)?;
        if self.ticks.is_multiple_of(5) {
            close_with_unread_data(&self.careless)?;
            let closed: SocketAddr = localhost(Ipv4Addr::LOCALHOST, CLOSED);
            // The kernel refuses the connection, as intended.
            drop(connect(closed));
        }
        Ok(())
    }

    /// Starts twelve clients a second, of which the slow listener accepts five.
    fn overflow_at_final_ack(&mut self) -> Result<()> {
        const CLIENTS: usize = 12;
        if self.ticks.is_multiple_of(10) {
            for _ in 0..CLIENTS {
                self.waiting.push_back(connect_nonblocking(self.slow.loopback())?);
            }
            for client in self.waiting.iter().rev().take(CLIENTS) {
                // A client whose SYN was dropped cannot send.
                let _ = send_byte(client);
            }
        }
        if self.ticks.is_multiple_of(2) {
            drop(self.slow.try_accept()?);
        }
        while self.waiting.len() > 2 * CLIENTS {
            if let Some(client) = self.waiting.pop_front() {
                client.set_linger(Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }
}

/// Serves one healthy connection: no drop, no reset.
fn serve(listener: &Listener) -> Result<()> {
    let client = connect(listener.loopback())?;
    let server = listener.accept()?;
    drop(client);
    drop(server);
    Ok(())
}

/// Closes the server's socket before it has read the client's data.
fn close_with_unread_data(listener: &Listener) -> Result<()> {
    let client = connect(listener.loopback())?;
    send_byte(&client)?;
    let server = listener.accept()?;
    drop(server);
    drop(client);
    Ok(())
}
