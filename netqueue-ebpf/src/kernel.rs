//! Reads through kernel pointers.
//! This is the unsafe fence: outside this file and hooks/trampoline.rs, a kernel address is only a number.

use core::{
    arch::asm,
    ffi::c_void,
    hint::assert_unchecked,
    mem::{MaybeUninit, transmute},
};

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel, generated};
use netqueue_common::{Flow, KernelLayout, ListenerKey, Namespace, UNKNOWN_LENGTH};

use crate::{
    layout::{Member as _, at, layout},
    net::Net,
    packet::Peer,
};

/// Error: a kernel structure could not be read.
pub(crate) struct Fault;

/// Reads a value about which the compiler must assume nothing.
#[inline(always)]
pub(crate) fn volatile<T: Copy>(field: &T) -> T {
    // SAFETY: a reference is readable.
    unsafe { core::ptr::read_volatile(field) }
}

/// Reads a `T` at `base + offset`; `T` must be made of integers.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: u32) -> Result<T, Fault> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(u64::from(offset)) as *const T) }.map_err(|_| Fault)
}

/// Reads a `T` at `base + offset`, or zeroes if there is nothing to read.
/// The helper fills the destination with zeroes then (kernel/trace/bpf_trace.c bpf_probe_read_kernel_common).
/// For members of a structure that was read already: a value that exists on both paths leaves the compiler no
/// register to carry on that only one of them has written, which verifiers refuse.
#[inline(always)]
pub(crate) fn read_or_zero<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = base.wrapping_add(u64::from(offset)) as *const c_void;
    // SAFETY: the helper writes all of the destination, whatever the address; `T` is made of integers.
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// Reads one aligned integer like [`read`], without the helper if the kernel allows that.
/// Such a load has a tenth of the cost. For code that runs for each connection, and for memory that is
/// certainly mapped: a load from other memory gives zeroes.
#[inline(always)]
pub(crate) fn load<T: Copy>(base: u64, offset: u32) -> Result<T, Fault> {
    const { assert!(size_of::<T>() == align_of::<T>(), "one integer") };
    if layout!(rdonly_cast) == 0 {
        return read(base, offset);
    }
    let address = base.wrapping_add(u64::from(offset));
    // The base was null, or no pointer at all: kernel addresses are negative.
    if address.cast_signed() >= 0 {
        return Err(Fault);
    }
    // SAFETY: to the verifier this is an array of numbers, each load of which it makes safe, whatever the
    // address.
    Ok(unsafe { cast(address, layout!(window)).cast::<T>().read_volatile() })
}

/// Loads like [`load`], or returns zeroes if there is nothing to read.
#[inline(always)]
pub(crate) fn load_or_zero<T: Copy + Default>(base: u64, offset: u32) -> T {
    if layout!(rdonly_cast) == 0 {
        read_or_zero(base, offset)
    } else {
        load(base, offset).unwrap_or_default()
    }
}

/// Casts an address to a pointer through which a structure of this BTF type may be loaded.
/// The kernel's `bpf_rdonly_cast` (kernel/bpf/helpers.c), in place of which the verifier puts a move.
#[inline(always)]
fn cast(address: u64, structure: u32) -> *const u8 {
    // SAFETY: the function that the loader inserts has this signature. If the kernel lacks it, no path leads
    // here.
    unsafe {
        let cast: extern "C" fn(u64, u32) -> *const u8 = transmute(KernelLayout::CAST as usize);
        cast(address, structure)
    }
}

/// Returns the lower half of an address as a number.
/// The address may be a pointer to the verifier, which lets only that much of a pointer be copied.
#[inline(always)]
pub(crate) fn lower_half(mut address: u64) -> u64 {
    // SAFETY: a move.
    unsafe { asm!("w1 = w1", inout("r1") address, options(pure, nomem, nostack)) };
    address
}

/// Spreads the addresses of sockets over a table of `1 << BITS` places.
/// An address may be a pointer to the verifier: see [`lower_half`].
#[inline(always)]
pub(crate) fn spread<const BITS: u32>(mut sk: u64) -> usize {
    /// GOLDEN_RATIO_32 of include/linux/hash.h.
    const PART: u32 = 0x61c8_8647;
    // In 32-bit instructions, whose result has at most BITS bits: 64-bit ones would need a mask, too.
    // SAFETY: a move and some arithmetic.
    unsafe {
        asm!(
            "w1 = w1", "w1 *= {0}", "w1 >>= {1}",
            const PART, const u32::BITS - BITS, inout("r1") sk, options(pure, nomem, nostack)
        );
        assert_unchecked(sk < 1 << BITS);
    }
    sk as usize
}

/// Returns the inode number of a `struct socket`.
#[inline(always)]
pub(crate) fn socket_inode(socket: u64) -> Result<u64, Fault> {
    read(socket, layout!(socket_inode))
}

/// Returns the nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
pub(crate) fn monotonic_now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
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
        flow.netns = netns;
        flow.peer_port = u16::from_be(read(self.0, layout!(sock_dport))?);
        flow.local_port = read(self.0, layout!(sock_num))?;
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
    /// A FIN takes one sequence number of its own.
    #[inline(always)]
    pub(crate) fn has_unread_data(self) -> bool {
        let received: u32 = read_or_zero(self.0, layout!(tcp_rcv_nxt));
        let copied: u32 = read_or_zero(self.0, layout!(tcp_copied_seq));
        received.wrapping_sub(copied) > u32::from(self.flag(layout!(flag_done)))
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
