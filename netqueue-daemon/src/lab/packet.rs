//! The bytes of TCP segments from peers that do not exist: built, and read back from a capture. No socket here.

use std::net::SocketAddrV4;

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

/// The initial sequence number of every fake peer.
pub(super) const PEER_ISN: u32 = 1_000_000;

/// What a fake peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// The first packet of a handshake.
    Syn,
    /// The last packet of a handshake, or any bare acknowledgement of `ack`.
    Ack {
        /// The listener's initial sequence number plus one.
        ack: u32,
    },
    /// One byte of data on a connection, with the same acknowledgement as the last packet of its handshake.
    Data {
        /// The listener's initial sequence number plus one.
        ack: u32,
    },
    /// A reset in the middle of a handshake.
    Rst,
}

/// A whole IPv4 packet, header included.
pub(super) fn ipv4_packet(from: SocketAddrV4, to: SocketAddrV4, segment: Segment) -> Vec<u8> {
    let sequence = if segment == Segment::Syn { PEER_ISN } else { PEER_ISN + 1 };
    let builder = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64).tcp(
        from.port(),
        to.port(),
        sequence,
        64240,
    );
    let builder = match segment {
        Segment::Syn => builder.syn(),
        Segment::Ack { ack } => builder.ack(ack),
        Segment::Data { ack } => builder.ack(ack).psh(),
        Segment::Rst => builder.rst(),
    };
    let payload: &[u8] = if matches!(segment, Segment::Data { .. }) { b"x" } else { b"" };
    let mut packet = Vec::with_capacity(41);
    builder
        .write(&mut packet, payload)
        .expect("writing forty-one bytes to memory fails only for a payload too long");
    packet
}

/// The first answer to a fake peer's SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynAck {
    /// The peer it is for.
    pub to: SocketAddrV4,
    /// Where it comes from.
    pub from: SocketAddrV4,
    /// The listener's initial sequence number.
    pub sequence: u32,
}

/// Reads an IPv4 packet; `None` if it is not a SYN-ACK.
pub(super) fn parse_syn_ack(packet: &[u8]) -> Option<SynAck> {
    let sliced = SlicedPacket::from_ip(packet).ok()?;
    let ip = sliced.net.as_ref()?.ipv4_ref()?.header();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    (tcp.syn() && tcp.ack()).then(|| SynAck {
        to: SocketAddrV4::new(ip.destination_addr(), tcp.destination_port()),
        from: SocketAddrV4::new(ip.source_addr(), tcp.source_port()),
        sequence: tcp.sequence_number(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.9.9.3:20003";
    const LISTENER: &str = "127.0.0.1:8003";

    fn packet(segment: Segment) -> Vec<u8> {
        ipv4_packet(PEER.parse().unwrap(), LISTENER.parse().unwrap(), segment)
    }

    /// The Internet checksum of correct bytes, checksum field included, is zero.
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
