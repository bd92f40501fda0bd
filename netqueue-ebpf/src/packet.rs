//! A received packet: who sent it, to whom, and what it says it is.

use netqueue_common::{Flow, ListenerKey, Namespace};

use crate::{
    kernel::{AF_INET, AF_INET6, Fault, Net, read, widen},
    layout::layout,
};

pub(crate) const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// One end of a connection, as a packet or a socket names it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) family: u16,
    pub(crate) port: u16,
    pub(crate) addr: [u8; 16],
}

impl Peer {
    pub(crate) const UNKNOWN: Self = Self { family: 0, port: 0, addr: [0; 16] };
}

/// A received `struct sk_buff` whose network and transport headers are set.
#[derive(Clone, Copy)]
pub(crate) struct Packet(pub(crate) u64);

impl Packet {
    /// Writes down the connection it names.
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

    /// Who sent it.
    #[inline(always)]
    pub(crate) fn source(self) -> Result<Peer, Fault> {
        self.end(12, 8, 0)
    }

    /// Whether its TCP header has the RST flag.
    #[inline(always)]
    pub(crate) fn is_reset(self) -> Result<bool, Fault> {
        const RST: u8 = 1 << 2;
        self.flags().map(|flags| flags & RST != 0)
    }

    /// Whether its TCP header has the SYN flag.
    #[inline(always)]
    pub(crate) fn is_syn(self) -> Result<bool, Fault> {
        const SYN: u8 = 1 << 1;
        self.flags().map(|flags| flags & SYN != 0)
    }

    #[inline(always)]
    fn flags(self) -> Result<u8, Fault> {
        const FLAGS: u32 = 13;
        let head: u64 = read(self.0, layout!(skb_head))?;
        let transport: u16 = read(self.0, layout!(skb_transport_header))?;
        read(head + u64::from(transport), FLAGS)
    }

    /// The account of the local address and port it was sent to.
    #[inline(always)]
    pub(crate) fn destination_key(self, net: Net) -> Result<ListenerKey, Fault> {
        let Peer { family, port, addr } = self.end(16, 24, 2)?;
        Ok(ListenerKey { sock: 0, netns: net.id()?, port, family, addr, reserved: 0 })
    }

    /// An address and a port at fixed places of the IPv4, IPv6 and TCP headers.
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

    /// The namespace that answers it: that of the device its route points to, as tcp_v4_send_reset takes it where
    /// there is no socket.
    #[inline(always)]
    pub(crate) fn net(self) -> Result<Net, Fault> {
        // The lowest bit of _skb_refdst says whether a reference is held (SKB_DST_NOREF).
        let dst = read::<u64>(self.0, layout!(skb_refdst))? & !1;
        let device: u64 = read(dst, layout!(dst_dev))?;
        read(device, layout!(dev_net)).map(Net)
    }
}
