//! Fake peers: hosts 10.9.9.x and fd09:9::x that exist only as raw packets.
//! They have no TCP stack that would disturb an experiment by answering.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::netlink::{self, Route};
use super::packet::{Segment, SynAck, ip_packet, parse_syn_ack, unreachable};
use super::sockets::Family;
use super::sysctl;
use super::verdict::Skip;

/// The nth fake IPv4 peer: a host of 10.9.9.0/24 with a port of its own.
pub(super) fn peer(n: u16) -> SocketAddr {
    peer_of(Family::V4, n)
}

/// The first `count` fake IPv4 peers, as events name them.
pub(super) fn peers(count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).map(peer)
}

/// The nth fake peer of a family.
pub(super) fn peer_of(family: Family, n: u16) -> SocketAddr {
    let host = 1 + n % 250;
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(10, 9, 9, host as u8).into(),
        Family::V6 => Ipv6Addr::new(0xfd09, 9, 0, 0, 0, 0, 0, host).into(),
    };
    SocketAddr::new(ip, 20_000 + n)
}

/// The network of a family's peers and its prefix length.
fn network(family: Family) -> (IpAddr, u8) {
    match family {
        Family::V4 => (Ipv4Addr::new(10, 9, 9, 0).into(), 24),
        Family::V6 => (Ipv6Addr::new(0xfd09, 9, 0, 0, 0, 0, 0, 0).into(), 112),
    }
}

/// Sends packets as the fake peers of the calling thread's namespace, and captures the answers.
pub(super) struct FakePeers {
    family: Family,
    sender: Socket,
    capture: Socket,
}

impl FakePeers {
    /// Routes the fake IPv4 peers to loopback: answers to them leave on lo and die there.
    pub(super) fn create() -> Result<Self> {
        Self::of(Family::V4)
    }

    /// Routes the fake peers of a family to a device.
    /// IPv6 refuses routes to foreign hosts on lo, so its peers have a device of their own.
    pub(super) fn of(family: Family) -> Result<Self> {
        let (network, length) = network(family);
        let (domain, ethertype, device) = match family {
            Family::V4 => {
                sysctl::ensure("ipv4/conf/all/rp_filter", 0)?;
                sysctl::ensure("ipv4/conf/lo/rp_filter", 0)?;
                (Domain::IPV4, libc::ETH_P_IP, netlink::LOOPBACK_INDEX)
            }
            Family::V6 => (Domain::IPV6, libc::ETH_P_IPV6, netlink::swallowing_device("nq-peers")?),
        };
        netlink::route(network, length, Route::Through(device))?;
        let sender = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
            .context("cannot open a raw socket")?;
        if family == Family::V4 {
            sender.set_broadcast(true)?;
        }
        let ethertype = i32::from((ethertype as u16).to_be());
        let capture =
            Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(ethertype))).map_err(|error| {
                Skip::because(format!("this kernel gives no packet socket (CONFIG_PACKET): {error}"))
            })?;
        capture.set_recv_buffer_size(4 << 20).context("cannot size the packet socket's buffer")?;
        Ok(Self { family, sender, capture })
    }

    /// The nth fake peer.
    pub(super) fn peer(&self, n: u16) -> SocketAddr {
        peer_of(self.family, n)
    }

    /// Makes the peers unreachable: sending to them fails from now on.
    pub(super) fn lose_the_way(&self) -> Result<()> {
        let (network, length) = network(self.family);
        netlink::route(network, length, Route::Unreachable)
    }

    /// Sends one segment from a fake peer.
    pub(super) fn send(&self, from: SocketAddr, to: SocketAddr, segment: Segment) -> Result<()> {
        self.send_packet(&ip_packet(from, to, segment), to)
    }

    /// Sends the final ACK of a handshake.
    pub(super) fn send_final_ack(&self, answer: &SynAck) -> Result<()> {
        self.send(answer.to, answer.from, Segment::Ack { ack: answer.sequence.wrapping_add(1) })
    }

    /// Sends the ICMP error that a SYN-ACK cannot be delivered.
    pub(super) fn send_unreachable(&self, about: &SynAck) -> Result<()> {
        self.send_packet(&unreachable(about), about.from)
    }

    fn send_packet(&self, packet: &[u8], to: SocketAddr) -> Result<()> {
        // The packet contains its ports; the address of a raw IPv6 socket must have none.
        let address = SockAddr::from(SocketAddr::new(to.ip(), 0));
        self.sender.send_to(packet, &address).with_context(|| format!("cannot send a raw packet to {to}"))?;
        Ok(())
    }

    /// Sends a SYN from each of the first `count` peers.
    pub(super) fn send_syns(&self, count: u16, to: SocketAddr) -> Result<()> {
        (0..count).try_for_each(|n| self.send(self.peer(n), to, Segment::Syn))
    }

    /// Waits for SYN-ACKs to `count` different peers; returns them in the order of arrival.
    pub(super) fn syn_acks(&self, count: usize, patience: Duration) -> Result<Vec<SynAck>> {
        let deadline = Instant::now() + patience;
        let mut seen: Vec<SynAck> = Vec::with_capacity(count);
        let mut buffer = [0u8; 2048];
        while seen.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} of {count} SYNs were answered within {} s", seen.len(), patience.as_secs());
            }
            self.capture.set_read_timeout(Some(left))?;
            let length = match (&self.capture).read(&mut buffer) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) => return Err(error).context("cannot read the packet socket"),
            };
            let Some(answer) = parse_syn_ack(&buffer[..length]) else { continue };
            if is_fake(answer.to) && !seen.iter().any(|known| known.to == answer.to) {
                seen.push(answer);
            }
        }
        Ok(seen)
    }
}

fn is_fake(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.octets()[..3] == [10, 9, 9],
        IpAddr::V6(ip) => ip.segments()[..2] == [0xfd09, 9],
    }
}
