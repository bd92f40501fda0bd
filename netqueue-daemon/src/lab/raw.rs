//! Fake peers on loopback: hosts 10.9.9.x that exist only as raw packets, so no TCP of their own disturbs an experiment.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::packet::{Segment, SynAck, ipv4_packet, parse_syn_ack};
use super::verdict::Skip;
use super::{netlink, sysctl};

const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 0);

/// The nth fake peer: a host of 10.9.9.0/24 and a port of its own.
pub(super) fn peer(n: u16) -> SocketAddrV4 {
    let [a, b, c, _] = NETWORK.octets();
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, 1 + (n % 250) as u8), 20_000 + n)
}

/// Peers as events name them.
pub(super) fn peers(count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).map(|n| peer(n).into())
}

/// Sends as the fake peers of the calling thread's namespace, and sees what is sent to them.
pub(super) struct FakePeers {
    sender: Socket,
    capture: Socket,
}

impl FakePeers {
    /// Routes the fake peers to loopback: answers to them go out on lo and die there.
    pub(super) fn create() -> Result<Self> {
        netlink::route_to_loopback(NETWORK, 24)?;
        sysctl::ensure("ipv4/conf/all/rp_filter", 0)?;
        sysctl::ensure("ipv4/conf/lo/rp_filter", 0)?;
        let sender = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
            .context("cannot open a raw socket")?;
        let ethertype = i32::from((libc::ETH_P_IP as u16).to_be());
        let capture =
            Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(ethertype))).map_err(|error| {
                Skip::because(format!("this kernel gives no packet socket (CONFIG_PACKET): {error}"))
            })?;
        capture.set_recv_buffer_size(4 << 20).context("cannot size the packet socket's buffer")?;
        Ok(Self { sender, capture })
    }

    /// Sends one segment from a fake peer.
    pub(super) fn send(&self, from: SocketAddrV4, to: SocketAddrV4, segment: Segment) -> Result<()> {
        let packet = ipv4_packet(from, to, segment);
        self.sender
            .send_to(&packet, &SockAddr::from(to))
            .with_context(|| format!("cannot send a raw packet to {to}"))?;
        Ok(())
    }

    /// Sends a SYN from each of the first `count` peers.
    pub(super) fn send_syns(&self, count: u16, to: SocketAddrV4) -> Result<()> {
        (0..count).try_for_each(|n| self.send(peer(n), to, Segment::Syn))
    }

    /// Waits until `count` different peers have been answered with a SYN-ACK; in the order of the answers.
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

fn is_fake(address: SocketAddrV4) -> bool {
    address.ip().octets()[..3] == NETWORK.octets()[..3]
}
