//! A received packet: its source, its destination and its TCP header.

use netqueue_common::{Flow, ListenerKey, Namespace};

use crate::{
    layout::layout,
    net::Net,
    peer::Peer,
    read::{Fault, read},
    sock::{AF_INET, AF_INET6, widen},
};

pub(crate) const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Flags of a TCP header (RFC 9293, 3.1).
const FIN: u8 = 1;
pub(crate) const SYN: u8 = 1 << 1;
pub(crate) const RST: u8 = 1 << 2;
pub(crate) const ACK: u8 = 1 << 4;

/// A received `struct sk_buff` whose network and transport headers are set.
#[derive(Clone, Copy)]
pub(crate) struct Packet(pub(crate) u64);

impl Packet {
    /// Writes the connection that the packet names to `flow`.
    #[inline(always)]
    pub(crate) fn note_flow(self, netns: Namespace, flow: &mut Flow) -> Result<(), Fault> {
        let peer = self.end(12, 8, 0)?;
        flow.netns = netns;
        flow.peer_port = peer.port;
        flow.peer_addr = peer.addr;
        let local = self.end(16, 24, 2)?;
        flow.local_port = local.port;
        flow.local_addr = local.addr;
        Ok(())
    }

    /// Returns the address and port of the sender.
    #[inline(always)]
    pub(crate) fn source(self) -> Result<Peer, Fault> {
        self.end(12, 8, 0)
    }

    /// Returns whether the TCP header has the RST flag.
    #[inline(always)]
    pub(crate) fn is_reset(self) -> Result<bool, Fault> {
        self.flags().map(|flags| flags & RST != 0)
    }

    /// Returns whether the TCP header has the SYN flag.
    #[inline(always)]
    pub(crate) fn is_syn(self) -> Result<bool, Fault> {
        self.flags().map(|flags| flags & SYN != 0)
    }

    /// Returns the flags of the TCP header.
    #[inline(always)]
    pub(crate) fn flags(self) -> Result<u8, Fault> {
        const FLAGS: u32 = 13;
        read(self.tcp()?, FLAGS)
    }

    /// Returns whether the packet asks for a new connection: a SYN, and not the answer to one.
    #[inline(always)]
    pub(crate) fn is_request(self) -> Result<bool, Fault> {
        self.flags().map(|flags| flags & (SYN | ACK) == SYN)
    }

    /// Returns whether the peer closes with this packet: a FIN, or a TLS alert, and no other data.
    ///
    /// Before TLS 1.3 an alert is a record of type 21 (RFC 5246, 6.2.1). Since then it looks like application
    /// data (type 23), but the 19 bytes of an encrypted alert leave room for two bytes only (RFC 8446, 5.2).
    #[inline(always)]
    pub(crate) fn is_closing(self) -> Result<bool, Fault> {
        /// Length of a record's header: type, version, length.
        const HEADER: u32 = 5;
        /// Longest alert: with an explicit vector, a MAC, and padding.
        const LONGEST: u32 = 96;
        let tcp = self.tcp()?;
        let header = u32::from(read::<u8>(tcp, 12)? >> 4) * 4;
        let data = read::<u32>(self.0, layout!(skb_len))?.wrapping_sub(header);
        if data == 0 {
            return self.flags().map(|flags| flags & FIN != 0);
        }
        if data <= HEADER || data > LONGEST {
            return Ok(false);
        }
        let [kind, version, minor, high, low]: [u8; HEADER as usize] =
            read(self.payload(tcp, header, data)?, 0)?;
        let length = u32::from(high) << 8 | u32::from(low);
        let alert = kind == 21 || kind == 23 && minor == 3 && length == 19;
        Ok(version == 3 && HEADER + length == data && alert)
    }

    /// Returns the address of the packet's data, of `data` bytes, behind a TCP header of `header` bytes.
    /// An error if they lie in both parts of the packet, or in pages that this kernel does not let be found.
    #[inline(always)]
    fn payload(self, tcp: u64, header: u32, data: u32) -> Result<u64, Fault> {
        /// `skb_frag_t.offset`, or `bv_offset`: behind the page and the length.
        const OFFSET: u32 = 12;
        /// x86 has pages of 4096 bytes.
        const PAGE_SHIFT: u32 = 12;
        let in_pages: u32 = read(self.0, layout!(skb_data_len))?;
        if in_pages == 0 {
            return Ok(tcp + u64::from(header));
        }
        let size = u64::from(layout!(size_of_page));
        if in_pages != data || layout!(vmemmap_base) == 0 || layout!(page_offset_base) == 0 || size == 0 {
            return Err(Fault);
        }
        let head: u64 = read(self.0, layout!(skb_head))?;
        let end: u32 = read(self.0, layout!(skb_end))?;
        let fragment = head + u64::from(end) + u64::from(layout!(shared_info_frags));
        let page: u64 = read(fragment, 0)?;
        let offset: u32 = read(fragment, OFFSET)?;
        let index = page.wrapping_sub(read(layout!(vmemmap_base), 0)?) / size;
        let pages: u64 = read(layout!(page_offset_base), 0)?;
        Ok(pages.wrapping_add(index << PAGE_SHIFT).wrapping_add(u64::from(offset)))
    }

    /// Returns the sequence and acknowledgment numbers, as they lie in the header.
    #[inline(always)]
    pub(crate) fn numbers(self) -> Result<u64, Fault> {
        const NUMBERS: u32 = 4;
        read(self.tcp()?, NUMBERS)
    }

    /// Returns whether the TCP options are certainly well formed and contain no signature.
    /// True if there are none, or those that nearly all packets have. Signatures are those of RFC 2385 and
    /// RFC 5925. A loop over the options would make verifiers follow each path through it.
    #[inline(always)]
    pub(crate) fn is_plain(self) -> Result<bool, Fault> {
        /// Kind and length of a maximum segment size.
        const MSS: u32 = 0x0204;
        /// Two NOPs, and kind and length of a time stamp. `SACK_TIMESTAMP` has SACK permitted for the NOPs.
        const TIMESTAMP: u32 = 0x0101_080a;
        const SACK_TIMESTAMP: u32 = 0x0402_080a;
        /// A NOP, and kind and length of a window scale. `SACK` is two NOPs and SACK permitted.
        const WINDOW_SCALE: u32 = 0x0001_0303;
        const SACK: u32 = 0x0101_0402;
        let tcp = self.tcp()?;
        let words = read::<u8>(tcp, 12)? >> 4;
        let options: [u32; 5] = read(tcp, 20)?;
        let [first, second, third, _, fifth] = options.map(u32::from_be);
        Ok(match words {
            5 => true,
            6 => first >> 16 == MSS,
            8 if first == TIMESTAMP => true,
            // As in a SYN of Windows.
            8 => first >> 16 == MSS && second >> 8 == WINDOW_SCALE && third == SACK,
            // As in a SYN of Linux.
            10 => first >> 16 == MSS && second == SACK_TIMESTAMP && fifth >> 8 == WINDOW_SCALE,
            _ => false,
        })
    }

    /// Returns whether the packet's route ends at this host.
    /// If there is no socket, tcp_v4_send_reset answers no other packet.
    #[inline(always)]
    pub(crate) fn is_for_this_host(self) -> Result<bool, Fault> {
        /// include/uapi/linux/rtnetlink.h
        const RTN_LOCAL: u16 = 2;
        read::<u16>(self.route()?, layout!(rtable_type)).map(|kind| kind == RTN_LOCAL)
    }

    /// Returns the address of the TCP header.
    #[inline(always)]
    fn tcp(self) -> Result<u64, Fault> {
        let head: u64 = read(self.0, layout!(skb_head))?;
        let transport: u16 = read(self.0, layout!(skb_transport_header))?;
        Ok(head + u64::from(transport))
    }

    /// Returns the address of the packet's route.
    #[inline(always)]
    fn route(self) -> Result<u64, Fault> {
        // The lowest bit of _skb_refdst is a flag (SKB_DST_NOREF).
        read::<u64>(self.0, layout!(skb_refdst)).map(|dst| dst & !1)
    }

    /// Returns the account of the local address and port that the packet was sent to.
    #[inline(always)]
    pub(crate) fn destination_key(self, net: Net) -> Result<ListenerKey, Fault> {
        let Peer { family, port, addr } = self.end(16, 24, 2)?;
        Ok(ListenerKey { sock: 0, netns: net.id()?, port, family, addr, reserved: 0 })
    }

    /// Reads an address and a port at fixed offsets in the IPv4, IPv6 and TCP headers.
    #[inline(always)]
    fn end(self, in_ipv4: u32, in_ipv6: u32, in_tcp: u32) -> Result<Peer, Fault> {
        let head: u64 = read(self.0, layout!(skb_head))?;
        let network: u16 = read(self.0, layout!(skb_network_header))?;
        let transport: u16 = read(self.0, layout!(skb_transport_header))?;
        let protocol: u16 = read(self.0, layout!(skb_protocol))?;
        let network = head + u64::from(network);
        let (family, addr) = match u16::from_be(protocol) {
            ETH_P_IP => (AF_INET, widen(read(network, in_ipv4)?)),
            ETH_P_IPV6 => (AF_INET6, read(network, in_ipv6)?),
            _ => return Err(Fault),
        };
        let port: u16 = read(head + u64::from(transport), in_tcp)?;
        Ok(Peer { family, port: u16::from_be(port), addr })
    }

    /// Returns the namespace that answers the packet: that of the device of the packet's route.
    /// tcp_v4_send_reset takes this namespace if there is no socket.
    #[inline(always)]
    pub(crate) fn net(self) -> Result<Net, Fault> {
        let device: u64 = read(self.route()?, layout!(dst_dev))?;
        read(device, layout!(dev_net)).map(Net)
    }
}
