//! Builds and parses the bytes of TCP segments of nonexistent peers, without any socket.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};

/// The initial sequence number of every fake peer.
pub(super) const PEER_ISN: u32 = 1_000_000;
const HOPS: u8 = 64;

/// A segment that a fake peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// The first packet of a handshake.
    Syn,
    /// A SYN inside the window of a handshake: neither a retransmission nor legal for a client.
    SynAgain,
    /// The last packet of a handshake, or any bare ACK.
    Ack {
        /// The listener's initial sequence number plus one.
        ack: u32,
    },
    /// One byte of data, with the acknowledgement number of the handshake's last packet.
    Data {
        /// The listener's initial sequence number plus one.
        ack: u32,
    },
    /// Data, with the acknowledgement number of the handshake's last packet.
    Bytes {
        /// The listener's initial sequence number plus one.
        ack: u32,
        /// The data.
        payload: &'static [u8],
    },
    /// A FIN without data.
    Fin {
        /// The listener's initial sequence number plus one.
        ack: u32,
    },
    /// A reset in the middle of a handshake.
    Rst,
}

/// Builds a complete IPv4 or IPv6 packet; both addresses must be of one family.
pub(super) fn ip_packet(from: SocketAddr, to: SocketAddr, segment: Segment) -> Vec<u8> {
    let sequence = if segment == Segment::Syn { PEER_ISN } else { PEER_ISN + 1 };
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
        (from, to) => PacketBuilder::ipv6(as_v6(from).octets(), as_v6(to).octets(), HOPS),
    };
    let builder = ip.tcp(from.port(), to.port(), sequence, 64240);
    let builder = match segment {
        Segment::Syn | Segment::SynAgain => builder.syn(),
        Segment::Ack { ack } => builder.ack(ack),
        Segment::Data { ack } | Segment::Bytes { ack, .. } => builder.ack(ack).psh(),
        Segment::Fin { ack } => builder.ack(ack).fin(),
        Segment::Rst => builder.rst(),
    };
    let payload: &[u8] = match segment {
        Segment::Data { .. } => b"x",
        Segment::Bytes { payload, .. } => payload,
        Segment::Syn | Segment::SynAgain | Segment::Ack { .. } | Segment::Fin { .. } | Segment::Rst => b"",
    };
    let mut packet = Vec::with_capacity(60 + payload.len());
    builder.write(&mut packet, payload).expect("writing to memory fails only for a payload too long");
    packet
}

/// Builds a router's ICMP error about a SYN-ACK that it cannot deliver.
/// The error quotes the first bytes of the SYN-ACK, which identify the connection and its sequence number.
pub(super) fn unreachable(about: &SynAck) -> Vec<u8> {
    let builder = match (about.from.ip(), about.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
        (from, to) => PacketBuilder::ipv6(as_v6(from).octets(), as_v6(to).octets(), HOPS),
    };
    let quoted =
        builder.tcp(about.from.port(), about.to.port(), about.sequence, 64240).syn().ack(PEER_ISN + 1);
    let mut quote = Vec::with_capacity(60);
    quoted.write(&mut quote, b"").expect("writing sixty bytes to memory fails only for a payload too long");
    let mut packet = Vec::with_capacity(108);
    let written = match (about.to.ip(), about.from.ip()) {
        (IpAddr::V4(peer), IpAddr::V4(host)) => PacketBuilder::ipv4(peer.octets(), host.octets(), HOPS)
            .icmpv4(Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Host))
            .write(&mut packet, &quote),
        (peer, host) => PacketBuilder::ipv6(as_v6(peer).octets(), as_v6(host).octets(), HOPS)
            .icmpv6(Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Prohibited))
            .write(&mut packet, &quote),
    };
    written.expect("writing a hundred bytes to memory fails only for a payload too long");
    packet
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The first answer to a fake peer's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynAck {
    /// The destination: the fake peer.
    pub to: SocketAddr,
    /// The source: the listener.
    pub from: SocketAddr,
    /// The listener's initial sequence number.
    pub sequence: u32,
}

/// Parses an IP packet; `None` if it is not a SYN-ACK.
pub(super) fn parse_syn_ack(packet: &[u8]) -> Option<SynAck> {
    let sliced = SlicedPacket::from_ip(packet).ok()?;
    let (from, to): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        _ => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    (tcp.syn() && tcp.ack()).then(|| SynAck {
        to: SocketAddr::new(to, tcp.destination_port()),
        from: SocketAddr::new(from, tcp.source_port()),
        sequence: tcp.sequence_number(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.9.9.3:20003";
    const LISTENER: &str = "127.0.0.1:8003";

    fn packet(segment: Segment) -> Vec<u8> {
        ip_packet(PEER.parse().unwrap(), LISTENER.parse().unwrap(), segment)
    }

    /// Computes the Internet checksum, which is zero over correct bytes with the checksum field included.
    fn sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn both_checksums_are_right() {
        for segment in [Segment::Syn, Segment::Ack { ack: 77 }, Segment::Data { ack: 77 }, Segment::Rst] {
            let packet = packet(segment);
            assert_eq!(sum(&packet[..20]), 0);
            let mut pseudo = packet[12..20].to_vec();
            pseudo.extend([0, 6, 0, (packet.len() - 20) as u8]);
            pseudo.extend(&packet[20..]);
            pseudo.resize(pseudo.len().next_multiple_of(2), 0);
            assert_eq!(sum(&pseudo), 0);
        }
    }

    #[test]
    fn the_flags_say_what_the_segment_is() {
        assert_eq!(packet(Segment::Syn)[33], 0x02);
        assert_eq!(packet(Segment::Ack { ack: 77 })[33], 0x10);
        assert_eq!(packet(Segment::Data { ack: 77 })[33], 0x18);
        assert_eq!(packet(Segment::Data { ack: 77 })[40..], *b"x");
        assert_eq!(packet(Segment::Rst)[33], 0x04);
        assert_eq!(
            packet(Segment::Ack { ack: 77 })[24..32],
            [[0x00, 0x0f, 0x42, 0x41], [0, 0, 0, 77]].concat()
        );
    }

    #[test]
    fn an_icmp_error_quotes_the_packet_it_is_about() {
        for (host, peer, headers) in [(LISTENER, PEER, 20 + 8), ("[::1]:8003", "[fd09:9::3]:20003", 40 + 8)] {
            let about = SynAck { from: host.parse().unwrap(), to: peer.parse().unwrap(), sequence: 77 };
            let packet = unreachable(&about);
            assert_eq!(parse_syn_ack(&packet[headers..]), Some(about));
        }
    }

    #[test]
    fn only_a_syn_ack_is_taken_for_one() {
        assert_eq!(parse_syn_ack(&packet(Segment::Syn)), None);
        assert_eq!(parse_syn_ack(b"\x45rubbish"), None);
        let mut answer = packet(Segment::Syn);
        answer[33] |= 0x10;
        let syn_ack = parse_syn_ack(&answer).unwrap();
        assert_eq!((syn_ack.sequence, syn_ack.to), (PEER_ISN, LISTENER.parse().unwrap()));
        assert_eq!(syn_ack.from, PEER.parse().unwrap());
    }
}
