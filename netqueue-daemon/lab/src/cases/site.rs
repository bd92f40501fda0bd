//! Site of a case: a namespace with servers and one with their clients, joined by a wire.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::Socket;

use super::server::{Serve, Served};
use crate::netns::Netns;
use crate::sockets::connect_nonblocking;
use crate::wire;
pub(super) use crate::wire::{CLIENT, SERVER};

/// Address of clients to which the servers have no route.
pub(super) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Time in which netqueue finds a new listener and its process.
const FOUND_WITHIN: Duration = Duration::from_millis(2500);
const PATIENCE: Duration = Duration::from_secs(5);

/// Two namespaces, joined by a wire.
pub(super) struct Site {
    pub(super) servers: Netns,
    pub(super) clients: Netns,
}

impl Site {
    /// Creates both namespaces with the sysctls of a stock kernel.
    pub(super) fn create() -> Result<Self> {
        let (servers, clients) = (Netns::create()?, Netns::create()?);
        wire::join(&servers, &clients)?;
        Ok(Self { servers, clients })
    }

    /// Starts a server and waits until netqueue can have found it.
    pub(super) fn serve(&self, how: &Serve) -> Result<Served> {
        let served = self.serve_now(how)?;
        thread::sleep(FOUND_WITHIN);
        Ok(served)
    }

    /// Starts a server.
    pub(super) fn serve_now(&self, how: &Serve) -> Result<Served> {
        let how = how.clone();
        self.servers.run(move || how.start())
    }

    /// Runs the clients.
    pub(super) fn clients<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.clients.run(work)
    }

    /// Starts clients at a steady rate for some seconds, and keeps them.
    pub(super) fn arriving(&self, port: u16, per_second: f64, seconds: u64) -> Result<Vec<Socket>> {
        self.clients(move || {
            let mut clients = Vec::new();
            paced(per_second, seconds, |_| {
                clients.push(start(port)?);
                Ok(())
            })?;
            Ok(clients)
        })
    }

    /// Connects and closes clients at a steady rate for some seconds, without a byte.
    pub(super) fn passing(&self, port: u16, per_second: f64, seconds: u64) -> Result<()> {
        self.clients(move || {
            paced(per_second, seconds, |_| {
                drop(connect(port)?);
                Ok(())
            })
        })
    }
}

/// The servers' address with a port.
pub(super) fn at(port: u16) -> SocketAddr {
    (SERVER, port).into()
}

/// Connects a client and waits for the answer.
pub(super) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at(port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Starts a client that waits for nothing.
pub(super) fn start(port: u16) -> Result<Socket> {
    connect_nonblocking(at(port))
}

/// Sends a request and reads the start of the response; an error is what some cases are about.
pub(super) fn request(client: &mut TcpStream) -> std::io::Result<usize> {
    client.write_all(b"GET / HTTP/1.1\r\nHost: case\r\n\r\n")?;
    client.read(&mut [0; 4096])
}

/// Calls `one` with 0, 1, 2 .. at a steady rate for this long.
pub(super) fn paced(per_second: f64, seconds: u64, mut one: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    for n in 0..(per_second * seconds as f64) as u32 {
        let due = Duration::from_secs_f64(f64::from(n) / per_second);
        thread::sleep(due.saturating_sub(start.elapsed()));
        one(n)?;
    }
    Ok(())
}
