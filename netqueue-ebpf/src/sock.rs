//! Sockets, as the kernel has them in memory.

use core::mem::transmute;

use netqueue_common::{Flow, KernelLayout, ListenerKey, Namespace, UNKNOWN_LENGTH};

use crate::{
    layout::{Member as _, at, layout},
    net::Net,
    peer::Peer,
    read::{Fault, cast, load, load_or_zero, read, read_or_zero},
};

/// Returns the inode number of a `struct socket`.
#[inline(always)]
pub(crate) fn socket_inode(socket: u64) -> Result<u64, Fault> {
    read(socket, layout!(socket_inode))
}

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// States of include/net/tcp_states.h, which the user API mirrors: stable.
pub(crate) mod tcp_state {
    pub(crate) const SYN_RECV: u8 = 3;
    pub(crate) const FIN_WAIT2: u8 = 5;
    pub(crate) const TIME_WAIT: u8 = 6;
    pub(crate) const CLOSE: u8 = 7;
    pub(crate) const LISTEN: u8 = 10;
}

/// A `struct sock`, or the `sock_common` part of a time-wait or request socket.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) u64);

impl Sock {
    #[inline(always)]
    pub(crate) fn net(self) -> Result<Net, Fault> {
        load(self.0, layout!(sock_net)).map(Net)
    }

    /// Returns the socket's state ([`tcp_state`]); 0, which is none, if it cannot be read.
    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        load_or_zero(self.0, layout!(sock_state))
    }

    /// Returns the local port of this full socket; 0 if it cannot be read.
    #[inline(always)]
    pub(crate) fn port(self) -> u16 {
        u16::from_be(read_or_zero(self.0, layout!(inet_sport)))
    }

    /// Returns the peer's port and the local one, as they lie next to each other in the socket.
    #[inline(always)]
    pub(crate) fn ports(self) -> Result<u32, Fault> {
        read(self.0, layout!(sock_dport))
    }

    /// Returns the account of this listening socket.
    #[inline(always)]
    pub(crate) fn listener_key(self) -> Result<ListenerKey, Fault> {
        self.key(self.0)
    }

    /// Returns the account of this full socket's local address and port.
    #[inline(always)]
    pub(crate) fn local_key(self) -> Result<ListenerKey, Fault> {
        self.key(0)
    }

    /// Returns the listener of this pending request.
    #[inline(always)]
    pub(crate) fn listener(self) -> Result<Self, Fault> {
        read(self.0, layout!(request_listener)).map(Self)
    }

    /// Writes the connection of this pending request to `flow`, as its packets name it.
    #[inline(always)]
    pub(crate) fn note_request(self, netns: Namespace, flow: &mut Flow) -> Result<(), Fault> {
        flow.local_port = read(self.0, layout!(sock_num))?;
        self.note_ends(netns, flow)
    }

    /// Writes this connection to `flow`, as its packets name it.
    /// A socket that is being closed has lost `inet_num` already.
    #[inline(always)]
    pub(crate) fn note_connection(self, netns: Namespace, flow: &mut Flow) -> Result<(), Fault> {
        flow.local_port = self.port();
        self.note_ends(netns, flow)
    }

    /// Writes everything but the local port to `flow`.
    #[inline(always)]
    fn note_ends(self, netns: Namespace, flow: &mut Flow) -> Result<(), Fault> {
        flow.netns = netns;
        flow.peer_port = u16::from_be(read(self.0, layout!(sock_dport))?);
        let family: u16 = read(self.0, layout!(sock_family))?;
        flow.peer_addr = self.address(family, layout!(sock_daddr), layout!(sock_v6_daddr));
        // For IPv4 on a dual-stack listener, the family is the listener's, and the address a mapped one (RFC
        // 4291, 2.5.5.2).
        let mapped = family == AF_INET6 && is_mapped(&flow.peer_addr);
        let family = if mapped { AF_INET } else { family };
        if mapped {
            flow.peer_addr = self.address(family, layout!(sock_daddr), layout!(sock_v6_daddr));
        }
        flow.local_addr = self.address(family, layout!(sock_rcv_saddr), layout!(sock_v6_rcv_saddr));
        Ok(())
    }

    /// Returns whether this is the pending request of that connection, still in the connection table.
    #[inline(always)]
    pub(crate) fn is_pending(self, flow: &Flow) -> Result<bool, Fault> {
        let peer_port: u16 = read(self.0, layout!(sock_dport))?;
        let local_port: u16 = read(self.0, layout!(sock_num))?;
        let hashed: u64 = read(self.0, layout!(sock_hashed))?;
        let same = u16::from_be(peer_port) == flow.peer_port && local_port == flow.local_port;
        Ok(hashed != 0 && same)
    }

    /// Returns whether SO_LINGER is on with time-out 0: closing such a socket resets its connection.
    #[inline(always)]
    pub(crate) fn lingers_zero(self) -> bool {
        self.flag(layout!(flag_linger)) && read_or_zero::<u64>(self.0, layout!(sock_lingertime)) == 0
    }

    /// Returns whether no process has the socket any more (SOCK_DEAD).
    #[inline(always)]
    pub(crate) fn is_dead(self) -> bool {
        self.flag(layout!(flag_dead))
    }

    /// Returns whether the process has closed the socket or is closing it.
    /// __tcp_close() first shuts both directions down.
    #[inline(always)]
    pub(crate) fn is_shut_down(self) -> bool {
        /// include/net/sock.h
        const SHUTDOWN_MASK: u8 = 3;
        read_or_zero::<u8>(self.0, layout!(sock_shutdown)) & SHUTDOWN_MASK == SHUTDOWN_MASK
    }

    /// Returns whether this connection has received data that nobody has read.
    #[inline(always)]
    pub(crate) fn has_unread_data(self) -> bool {
        self.unread() != 0
    }

    /// Returns whether the peer has closed this connection and left no more unread than a TLS alert.
    ///
    /// Recognised by the length: the data are freed before the reset is sent (net/ipv4/tcp.c `__tcp_close`). An encrypted
    /// `close_notify` has 24 bytes (RFC 8446, 5.2), or 31 or 23 in TLS 1.2 with AES-GCM (RFC 5288, 3) or ChaCha20
    /// (RFC 7905, 2).
    #[inline(always)]
    pub(crate) fn left_an_alert(self) -> bool {
        self.flag(layout!(flag_done)) && matches!(self.unread(), 23 | 24 | 31)
    }

    /// Returns the number of bytes that this connection has received and nobody has read.
    /// A FIN takes one sequence number of its own.
    #[inline(always)]
    fn unread(self) -> u32 {
        let received: u32 = read_or_zero(self.0, layout!(tcp_rcv_nxt));
        let copied: u32 = read_or_zero(self.0, layout!(tcp_copied_seq));
        received.wrapping_sub(copied).saturating_sub(u32::from(self.flag(layout!(flag_done))))
    }

    /// Returns whether an upper layer has taken over this connection or listener (`icsk_ulp_ops`).
    /// The upper layer of a listener is Multipath TCP.
    #[inline(always)]
    pub(crate) fn has_upper_layer(self) -> bool {
        read_or_zero::<u64>(self.0, layout!(icsk_ulp_ops)) != 0
    }

    /// Returns whether TCP_LINGER2 is negative: once closed, the socket does not wait for the peer's FIN.
    #[inline(always)]
    pub(crate) fn waits_not_for_fin(self) -> bool {
        read_or_zero::<i32>(self.0, layout!(tcp_linger2)) < 0
    }

    #[inline(always)]
    fn flag(self, number: u32) -> bool {
        read_or_zero::<u64>(self.0, layout!(sock_flags)) >> number & 1 != 0
    }

    /// Returns the connection that this Multipath TCP socket was made of; 0 for any other socket.
    #[inline(always)]
    pub(crate) fn first_subflow(self) -> u64 {
        const IPPROTO_MPTCP: u16 = 262;
        if layout!(mptcp_first) == KernelLayout::ABSENT {
            return 0;
        }
        match load::<u16>(self.0, layout!(sock_protocol)) {
            Ok(IPPROTO_MPTCP) => read(self.0, layout!(mptcp_first)).unwrap_or(0),
            Ok(_) | Err(Fault) => 0,
        }
    }

    /// Returns the inode number of the `struct socket` of this socket, 0 if it has none.
    #[inline(always)]
    pub(crate) fn inode(self) -> u64 {
        match read::<u64>(self.0, layout!(sock_socket)) {
            Ok(socket) if socket != 0 => socket_inode(socket).unwrap_or(0),
            Ok(_) | Err(Fault) => 0,
        }
    }

    #[inline(always)]
    fn key(self, sock: u64) -> Result<ListenerKey, Fault> {
        let port = self.port();
        let family: u16 = read(self.0, layout!(sock_family))?;
        Ok(ListenerKey {
            sock,
            netns: self.net()?.id()?,
            port,
            family,
            addr: self.address(family, layout!(sock_rcv_saddr), layout!(sock_v6_rcv_saddr)),
            reserved: 0,
        })
    }

    /// Returns the other end of this connection; members that cannot be read are zero.
    #[inline(always)]
    pub(crate) fn peer(self) -> Peer {
        let family: u16 = read_or_zero(self.0, layout!(sock_family));
        let port: u16 = read_or_zero(self.0, layout!(sock_dport));
        let addr = self.address(family, layout!(sock_daddr), layout!(sock_v6_daddr));
        Peer { family, port: u16::from_be(port), addr }
    }

    /// Returns the address for this family.
    /// One read serves both families: an IPv4 address is the beginning of what is read.
    #[inline(always)]
    fn address(self, family: u16, v4: u32, v6: u32) -> [u8; 16] {
        let is_v6 = family == AF_INET6;
        let words: [u32; 4] = read_or_zero(self.0, if is_v6 { v6 } else { v4 });
        let rest = |word: u32| if is_v6 { word } else { 0 };
        let words = [words[0], rest(words[1]), rest(words[2]), rest(words[3])];
        // SAFETY: as many bytes, and any are a value.
        unsafe { transmute::<[u32; 4], [u8; 16]>(words) }
    }

    /// Returns when this connection was established, in microseconds of CLOCK_MONOTONIC.
    /// The kernel sets the time in net/ipv4/tcp_input.c tcp_init_buffer_space. Only to be called for a
    /// connection.
    #[inline(always)]
    pub(crate) fn established(self) -> Result<u64, Fault> {
        if layout!(rdonly_cast) == 0 {
            return read(self.0, layout!(tcp_rcvq_time));
        }
        // SAFETY: as in `load`.
        Ok(unsafe { u64::load::<{ at!(tcp_rcvq_time) }>(cast(self.0, layout!(tcp_sock))) })
    }

    /// Returns the number of connections in the accept queue.
    #[inline(always)]
    pub(crate) fn accept_length(self) -> Result<u32, Fault> {
        load(self.0, layout!(sock_ack_backlog))
    }

    /// Returns the queue lengths and limits at this moment.
    #[inline(always)]
    pub(crate) fn queues(self) -> Queues {
        let length = |offset| read(self.0, offset).unwrap_or(UNKNOWN_LENGTH);
        let accept_limit = length(layout!(sock_max_ack_backlog));
        Queues {
            accept_length: length(layout!(sock_ack_backlog)),
            accept_limit,
            syn_length: length(layout!(icsk_qlen)),
            syn_limit: accept_limit,
        }
    }
}

/// Lengths and limits of a listener's two queues.
#[derive(Clone, Copy)]
pub(crate) struct Queues {
    pub(crate) accept_length: u32,
    pub(crate) accept_limit: u32,
    pub(crate) syn_length: u32,
    pub(crate) syn_limit: u32,
}

impl Queues {
    /// Value for a socket that is no listener.
    pub(crate) const UNKNOWN: Self = Self {
        accept_length: UNKNOWN_LENGTH,
        accept_limit: UNKNOWN_LENGTH,
        syn_length: UNKNOWN_LENGTH,
        syn_limit: UNKNOWN_LENGTH,
    };
}

/// Returns whether this is an IPv4-mapped IPv6 address: ::ffff:a.b.c.d.
#[inline(always)]
fn is_mapped(addr: &[u8; 16]) -> bool {
    let mut zeroes = 0_u8;
    let mut at = 0;
    while at < 10 {
        zeroes |= addr[at];
        at += 1;
    }
    zeroes == 0 && addr[10] & addr[11] == 0xff
}

#[inline(always)]
pub(crate) fn widen(v4: [u8; 4]) -> [u8; 16] {
    [v4[0], v4[1], v4[2], v4[3], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
