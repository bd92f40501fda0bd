//! Kinds of work to measure: each is prepared once, repeated, and verified by the kernel's counters.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::counters::{self, Counter, Counters};
use crate::packet::{Segment, ip_packet};
use crate::raw::{FakePeers, peer};
use crate::sockets::Listener;
use crate::sysctl;

/// Above the number of sockets in TIME_WAIT here; the kernel's default depends on the machine's memory.
const MAX_TW_BUCKETS: u64 = 1 << 18;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Work {
    /// One connect, accept and close on loopback
    Cycle,
    /// One SYN to a listener whose SYN queue is full
    DroppedSyn,
    /// One byte on an established connection
    DataPacket,
}

impl Work {
    /// The name on the command line and in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::DroppedSyn => "dropped-syn",
            Self::DataPacket => "data-packet",
        }
    }

    /// A description of one repetition.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Cycle => "one connect, accept and close on loopback",
            Self::DroppedSyn => "one SYN to a listener whose SYN queue is full",
            Self::DataPacket => "one byte on an established connection",
        }
    }

    /// Number of warm-up batches, which fill caches and let the kernel finish deferred work.
    /// Under a flood they also use up the daemon's default `--event-burst`: a flood is measured in its steady
    /// state, not at its start.
    pub(super) const fn warm_up(self) -> u32 {
        match self {
            Self::Cycle | Self::DataPacket => 10,
            Self::DroppedSyn => 40,
        }
    }

    /// Number of pieces of work in one repetition.
    pub(super) const fn contained(self) -> u32 {
        match self {
            Self::Cycle | Self::DroppedSyn => 1,
            Self::DataPacket => 2,
        }
    }

    /// Prepares the work in the calling thread's network namespace.
    pub(super) fn prepare(self) -> Result<Prepared> {
        sysctl::defaults()?;
        match self {
            Self::Cycle => cycle(),
            Self::DroppedSyn => dropped_syn(),
            Self::DataPacket => data_packet(),
        }
    }
}

/// Prepared work, ready to repeat.
pub(super) struct Prepared {
    work: Box<dyn FnMut() -> Result<()>>,
    done: u64,
    before: Counters,
    /// The counter that every repetition increments by one, if any.
    moves: Option<Counter>,
}

impl Prepared {
    fn new(moves: Option<Counter>, work: impl FnMut() -> Result<()> + 'static) -> Result<Self> {
        Ok(Self { work: Box::new(work), done: 0, before: counters::of_this_thread()?, moves })
    }

    /// Performs one repetition.
    pub(super) fn once(&mut self) -> Result<()> {
        self.done += 1;
        (self.work)()
    }

    /// Number of repetitions so far.
    pub(super) const fn done(&self) -> u64 {
        self.done
    }

    /// Verifies by the kernel's counters that the intended work happened and nothing else was dropped.
    pub(super) fn check(&self) -> Result<()> {
        let moved = counters::since(&counters::of_this_thread()?, &self.before);
        let (drops, expected) =
            (moved.get(Counter::ListenDrops), if self.moves.is_some() { self.done } else { 0 });
        ensure!(
            drops == expected,
            "{drops} drops were counted, {expected} were to be: something else was measured"
        );
        if let Some(counter) = self.moves {
            let moved = moved.get(counter);
            ensure!(moved == self.done, "{} moved by {moved} and not by {}", counter.as_str(), self.done);
        }
        Ok(())
    }
}

fn cycle() -> Result<Prepared> {
    sysctl::ensure("ipv4/tcp_max_tw_buckets", MAX_TW_BUCKETS)?;
    let (listener, address) = listener()?;
    Prepared::new(None, move || {
        let client = TcpStream::connect(address).context("cannot connect")?;
        let (server, _) = listener.accept().context("cannot accept")?;
        // Keep this order: the client's socket must be the one in TIME_WAIT.
        drop(client);
        drop(server);
        Ok(())
    })
}

fn dropped_syn() -> Result<Prepared> {
    const PEERS: u16 = 250;
    sysctl::ensure("ipv4/tcp_syncookies", 0)?;
    let listener = Listener::ipv4(8050, 1)?;
    let to = listener.loopback();
    // The fake peers' packet socket sees every answer, at a cost, so the flood runs without it.
    FakePeers::create()?.send_syns(2, to)?;
    let sender = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
        .context("cannot open a raw socket")?;
    let address = SockAddr::from(SocketAddr::new(to.ip(), 0));
    let syns: Vec<_> = (2..PEERS).map(|n| ip_packet(peer(n), to, Segment::Syn)).collect();
    let mut next = 0;
    Prepared::new(Some(Counter::ReqQFullDrop), move || {
        // Keeps the listener open.
        let _open = &listener;
        next = (next + 1) % syns.len();
        sender.send_to(&syns[next], &address).context("cannot send a SYN")?;
        Ok(())
    })
}

fn data_packet() -> Result<Prepared> {
    /// Packets per connection: timers of one connection may be phased so that every packet re-arms them;
    /// a new connection's are phased otherwise.
    const PACKETS_OF_ONE: u32 = 200;
    let (listener, address) = listener()?;
    let connection = move || -> Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(address).context("cannot connect")?;
        let (server, _) = listener.accept().context("cannot accept")?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok((client, server))
    };
    let (mut client, mut server) = connection()?;
    let mut sent = 0;
    // Send a byte there and back: each packet carries the acknowledgement of the previous one.
    Prepared::new(None, move || {
        let mut byte = [0];
        sent += 1;
        if sent % PACKETS_OF_ONE == 0 {
            (client, server) = connection()?;
        }
        client.write_all(b"x")?;
        server.read_exact(&mut byte)?;
        server.write_all(b"x")?;
        client.read_exact(&mut byte)?;
        Ok(())
    })
}

fn listener() -> Result<(TcpListener, SocketAddr)> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any_port).context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
