//! Socket options and the clock that no safe crate offers: the only unsafe code of the lab.

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::netlink::LOOPBACK_INDEX;

/// Sets `TCP_DEFER_ACCEPT`: the connection completes when the client's first data arrives.
pub(super) fn defer_accept(socket: impl AsFd, seconds: i32) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Sets `TCP_FASTOPEN`: accepts data in SYNs, of at most `pending` incomplete connections.
pub(super) fn fast_open(socket: impl AsFd, pending: i32) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_FASTOPEN, pending)
}

/// Sends keep-alive probes after one second of silence, and gives up after the first without answer.
pub(super) fn impatient_keepalive(socket: impl AsFd) -> io::Result<()> {
    let options = [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT];
    options.into_iter().try_for_each(|option| set_tcp_option(&socket, option, 1))
}

/// Does not wait for the peer's FIN after close (`TCP_LINGER2` below 0).
pub(super) fn wait_for_no_fin(socket: impl AsFd) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_LINGER2, -1)
}

/// Disconnects a socket and keeps it: `connect` to an address of family AF_UNSPEC.
pub(super) fn dissolve(socket: impl AsFd) -> io::Result<()> {
    let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the descriptor is open while it is borrowed; pointer and length describe one live sockaddr.
    let result = unsafe {
        libc::connect(
            socket.as_fd().as_raw_fd(),
            &raw const nobody,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread run only while no other wants its CPU (`SCHED_IDLE`).
///
/// Once preempted, it stays where it was for long.
pub(super) fn yield_to_all() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to one live structure; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the TCP MD5 key (`TCP_MD5SIG`, RFC 2385) for connections with an IPv4 peer.
pub(super) fn md5_key(socket: impl AsFd, peer: Ipv4Addr, key: &[u8]) -> io::Result<()> {
    const LONGEST: usize = 80;
    const KEY_AT: usize = 128 + 8;
    // struct tcp_md5sig: a sockaddr_storage, flags, prefix length, key length, interface, key.
    let mut option = [0_u8; KEY_AT + LONGEST];
    let key = &key[..key.len().min(LONGEST)];
    option[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    option[4..8].copy_from_slice(&peer.octets());
    option[130..132].copy_from_slice(&(key.len() as u16).to_ne_bytes());
    option[KEY_AT..KEY_AT + key.len()].copy_from_slice(key);
    // SAFETY: the descriptor is open while it is borrowed, and pointer and length describe one live array.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            option.as_ptr().cast(),
            option.len() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread's loopback interface receive an IPv4 packet as if it came from a wire, so
/// that its source address is checked.
pub(super) fn receive_on_loopback(packet: &[u8]) -> io::Result<()> {
    const IPV4: u16 = libc::ETH_P_IP as u16;
    let socket = Socket::new(
        Domain::from(libc::AF_PACKET),
        Type::DGRAM,
        Some(Protocol::from(i32::from(IPV4.to_be()))),
    )?;
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: IPV4.to_be(),
        sll_ifindex: LOOPBACK_INDEX,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    // SAFETY: the descriptor is open, and both pointers with their lengths describe live values.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_tcp_option(socket: impl AsFd, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, and the pointer and length describe one live i32.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The head of the kernel's `struct tcp_info`, up to the fields that a listener fills in.
#[repr(C)]
#[derive(Default)]
struct TcpInfoHead {
    states_and_options: [u8; 8],
    /// rto, ato, snd_mss, rcv_mss
    timing: [u32; 4],
    /// For a listener: the length of the accept queue.
    unacked: u32,
    /// For a listener: the limit of the accept queue.
    sacked: u32,
}

/// The length of a listener's accept queue, as `ss` shows it in Recv-Q.
pub(super) fn accept_queue_length(listener: impl AsFd) -> io::Result<u32> {
    let mut info = TcpInfoHead::default();
    let mut length = size_of::<TcpInfoHead>() as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes, the size
    // of `info`, a plain struct of integers for which every bit pattern is valid.
    let result = unsafe {
        libc::getsockopt(
            listener.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(info.unacked) } else { Err(io::Error::last_os_error()) }
}

/// Number of packets that a socket has dropped (`sk_drops`), as `ss -m` shows it.
pub(super) fn drops(socket: impl AsFd) -> io::Result<u32> {
    /// SK_MEMINFO_DROPS of include/uapi/linux/sock_diag.h; the option has one more value.
    const DROPS: usize = 8;
    let mut values = [0u32; DROPS + 1];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes, the size
    // of `values`, integers for which every bit pattern is valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut values).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(values[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// The unit of [`ticks`].
#[cfg(target_arch = "x86_64")]
pub(super) const TICKS: &str = "TSC ticks";
/// The unit of [`ticks`].
#[cfg(not(target_arch = "x86_64"))]
pub(super) const TICKS: &str = "ns";

/// Reads the time stamp counter, the finest clock.
/// An emulator that counts instructions makes this counter count them.
#[cfg(target_arch = "x86_64")]
pub(super) fn ticks() -> u64 {
    // SAFETY: an instruction without operands that every CPU of this architecture has.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Reads the monotonic clock, in nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn ticks() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(|now| std::time::Duration::from(now).as_nanos() as u64)
        .unwrap_or(0)
}
