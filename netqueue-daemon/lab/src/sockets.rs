//! Real sockets: listeners with a chosen backlog, and clients that connect without waiting.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::sys;
use super::verdict::Skip;

/// Time limit of any step that involves no incident, also on an emulated machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A listening socket.
/// Nothing accepts from it unless an experiment does so explicitly.
pub(super) struct Listener {
    socket: Socket,
    address: SocketAddr,
}

impl Listener {
    /// Listens on every IPv4 address.
    pub(super) fn ipv4(port: u16, backlog: i32) -> Result<Self> {
        Self::open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), backlog, false)
    }

    /// Listens on every IPv4 address with Multipath TCP.
    pub(super) fn mptcp(port: u16, backlog: i32) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map_err(|error| {
            Skip::because(format!(
                "this kernel gives no MPTCP socket (CONFIG_MPTCP, net.mptcp.enabled): {error}"
            ))
        })?;
        Self::listen(socket, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), backlog)
    }

    /// Listens on an IPv4 port that several sockets share with SO_REUSEPORT.
    pub(super) fn reuseport(port: u16, backlog: i32) -> Result<Self> {
        Self::open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), backlog, true)
    }

    /// Listens on every address of both families with one IPv6 socket.
    pub(super) fn dual_stack(port: u16, backlog: i32) -> Result<Self> {
        let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let socket = Self::socket(address)?;
        socket.set_only_v6(false)?;
        Self::listen(socket, address, backlog)
    }

    /// Listens on every address of one family.
    pub(super) fn of(family: Family, port: u16, backlog: i32) -> Result<Self> {
        match family {
            Family::V4 => Self::ipv4(port, backlog),
            Family::V6 => Self::open(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), backlog, false),
        }
    }

    fn open(address: SocketAddr, backlog: i32, shared: bool) -> Result<Self> {
        let socket = Self::socket(address)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(shared)?;
        Self::listen(socket, address, backlog)
    }

    fn socket(address: SocketAddr) -> Result<Socket> {
        match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
            Err(error) if address.is_ipv6() => {
                Err(Skip::because(format!("this kernel gives no IPv6 socket: {error}")))
            }
            other => other.context("cannot open a TCP socket"),
        }
    }

    fn listen(socket: Socket, address: SocketAddr, backlog: i32) -> Result<Self> {
        socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
        socket.listen(backlog).with_context(|| format!("cannot listen on {address}"))?;
        let address = local_address(&socket)?;
        Ok(Self { socket, address })
    }

    /// Listens again, with another backlog.
    pub(super) fn listen_again(&self, backlog: i32) -> Result<()> {
        self.socket.listen(backlog).with_context(|| format!("cannot listen on {} again", self.address))
    }

    /// The address to which the socket is bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address 127.0.0.1 with the listener's port.
    pub(super) fn loopback_ipv4(&self) -> SocketAddr {
        localhost(Ipv4Addr::LOCALHOST, self.address().port())
    }

    /// The loopback address with the listener's port: 127.0.0.1, or ::1 for an IPv6-only listener.
    pub(super) fn loopback(&self) -> SocketAddr {
        match self.socket.only_v6() {
            Ok(true) => localhost(Ipv6Addr::LOCALHOST, self.address.port()),
            Ok(false) | Err(_) => localhost(Ipv4Addr::LOCALHOST, self.address.port()),
        }
    }

    /// Sets `TCP_MD5SIG`: segments of the peer need a signature with this key.
    pub(super) fn md5_key(&self, peer: Ipv4Addr, key: &[u8]) -> Result<()> {
        sys::md5_key(&self.socket, peer, key).context("cannot set TCP_MD5SIG")
    }

    /// Sets `TCP_DEFER_ACCEPT`: handshakes complete only when the client's first data arrives.
    pub(super) fn defer_accept(&self) -> Result<()> {
        sys::defer_accept(&self.socket, 30).context("cannot set TCP_DEFER_ACCEPT")
    }

    /// Enables TCP Fast Open: SYNs that carry data make connections, at most `pending` incomplete ones.
    pub(super) fn fast_open(&self, pending: i32) -> Result<()> {
        sys::fast_open(&self.socket, pending).context("cannot set TCP_FASTOPEN")
    }

    /// Accepts one connection if there is one.
    pub(super) fn try_accept(&self) -> Result<Option<Socket>> {
        self.socket.set_nonblocking(true)?;
        match self.socket.accept() {
            Ok((connection, _)) => Ok(Some(connection)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot accept"),
        }
    }

    /// Accepts every connection that waits.
    pub(super) fn accept_all(&self) -> Result<Vec<Socket>> {
        let mut accepted = Vec::new();
        while let Some(connection) = self.try_accept()? {
            accepted.push(connection);
        }
        Ok(accepted)
    }

    /// Accepts the one connection that is on its way.
    pub(super) fn accept(&self) -> Result<Socket> {
        self.wait_for_queue(1)?;
        self.try_accept()?
            .with_context(|| format!("the listener on {} lost a queued connection", self.address))
    }

    /// The current length of the accept queue.
    pub(super) fn queue_length(&self) -> Result<u32> {
        sys::accept_queue_length(&self.socket).context("cannot read the listener's TCP_INFO")
    }

    /// The kernel's number of packets dropped by the socket: one for a SYN, two for a final ACK.
    pub(super) fn socket_drops(&self) -> Result<u32> {
        sys::drops(&self.socket).context("cannot read the listener's SO_MEMINFO")
    }

    /// Waits until the accept queue contains `length` connections.
    pub(super) fn wait_for_queue(&self, length: u32) -> Result<()> {
        wait_for(
            || self.queue_length(),
            |now| now == length,
            |now| format!("the accept queue holds {now} connections, {length} were to be queued"),
        )
    }

    /// Waits until the kernel has counted at least `least` dropped packets of the socket.
    pub(super) fn wait_for_drops(&self, least: u32) -> Result<()> {
        let address = self.address;
        wait_for(
            || self.socket_drops(),
            |now| now >= least,
            |now| format!("the listener on {address} has dropped {now} packets, {least} were to be dropped"),
        )
    }

    /// Adds `count` connections to the accept queue.
    /// Nobody accepts them. With `first_byte` each client sends one byte, which a deferring listener needs.
    pub(super) fn fill(&self, count: u32, first_byte: bool) -> Result<Vec<Socket>> {
        let known = self.queue_length()?;
        let mut clients = Vec::new();
        for _ in 0..count {
            let client = connect(self.loopback())?;
            if first_byte {
                send_byte(&client)?;
            }
            clients.push(client);
        }
        self.wait_for_queue(known + count)?;
        Ok(clients)
    }

    /// Duplicates the descriptor, for a process that accepts from this listener.
    pub(super) fn share(&self) -> Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned().context("cannot duplicate the listener")
    }
}

/// Reads a number until it is right or [`PATIENCE`] is over; the error contains the last number.
fn wait_for(
    read: impl Fn() -> Result<u32>,
    is_right: impl Fn(u32) -> bool,
    wrong: impl Fn(u32) -> String,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = read()?;
        if is_right(now) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(wrong(now));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Connects and waits for the answer.
pub(super) fn connect(to: SocketAddr) -> Result<Socket> {
    let socket = stream(to, Protocol::TCP)?;
    socket.connect_timeout(&to.into(), PATIENCE).with_context(|| format!("cannot connect to {to}"))?;
    Ok(socket)
}

/// Starts to connect without waiting.
pub(super) fn connect_nonblocking(to: SocketAddr) -> Result<Socket> {
    start_to_connect(to, Protocol::TCP)
}

/// Starts to connect with TCP or MPTCP, without waiting.
pub(super) fn start_to_connect(to: SocketAddr, protocol: Protocol) -> Result<Socket> {
    let socket = stream(to, protocol)?;
    socket.set_nonblocking(true)?;
    started(socket.connect(&SockAddr::from(to)))
        .with_context(|| format!("cannot start to connect to {to}"))?;
    Ok(socket)
}

/// Sends a SYN with one byte of data, without waiting.
pub(super) fn connect_fast_open(to: SocketAddr) -> Result<Socket> {
    let socket = stream(to, Protocol::TCP)?;
    socket.set_nonblocking(true)?;
    let sent = socket.send_to_with_flags(b"x", &SockAddr::from(to), libc::MSG_FASTOPEN);
    started(sent.map(drop)).with_context(|| format!("cannot send a SYN with data to {to}"))?;
    Ok(socket)
}

/// Treats a connect in progress (EINPROGRESS) as success.
fn started(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other,
    }
}

fn stream(to: SocketAddr, protocol: Protocol) -> Result<Socket> {
    Socket::new(Domain::for_address(to), Type::STREAM, Some(protocol)).context("cannot open a socket")
}

/// Sends one byte.
pub(super) fn send_byte(mut client: &Socket) -> Result<()> {
    client.write_all(b"x").context("cannot send a byte")
}

/// Waits until the client's side of the handshake is complete.
pub(super) fn wait_connected(client: &Socket) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while client.peer_addr().is_err() {
        if Instant::now() > deadline {
            bail!("a client waits for its SYN-ACK since {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The local addresses of clients, which the listener sees as peers.
pub(super) fn local_addresses(clients: &[Socket]) -> Result<Vec<SocketAddr>> {
    clients.iter().map(local_address).collect()
}

/// The local address of a socket.
pub(super) fn local_address(socket: &Socket) -> Result<SocketAddr> {
    socket.local_addr()?.as_socket().context("a socket has no IP address")
}

/// A loopback address, 127.0.0.1 or ::1, with a port.
pub(super) fn localhost(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

/// Raises this process's limit of open descriptors to the maximum.
pub(super) fn raise_descriptor_limit() -> Result<()> {
    /// More descriptors than any experiment opens; root may raise the hard limit to it.
    const MANY: u64 = 1 << 16;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    if hard < MANY && setrlimit(Resource::RLIMIT_NOFILE, MANY, MANY).is_ok() {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
