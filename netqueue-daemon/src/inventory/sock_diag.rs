//! Queries the kernel for TCP sockets of the calling thread's network namespace by sock_diag.
//!
//! Takes one netlink dump per address family.

use std::{
    io,
    mem::offset_of,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_ESTABLISHED},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use netqueue_domain::{Family, Known, QueueState, Sighting, SocketInode};

/// Listener as one source shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Address to which it is bound.
    pub(super) addr: IpAddr,
    /// Port.
    pub(super) port: u16,
    /// Inode number of the socket.
    pub(super) inode: SocketInode,
    /// Socket cookie of the kernel.
    pub(super) cookie: Known<u64>,
    /// Address families of the connections it accepts.
    pub(super) family: Family,
    /// Index of the network interface to which it is bound.
    pub(super) interface: Option<u32>,
    /// User id of the socket's owner.
    pub(super) uid: u32,
    /// Accept queue and its limit.
    pub(super) queue: Known<QueueState>,
}

/// Returns the listeners of the calling thread's namespace.
///
/// # Errors
/// sock_diag does not support TCP here, or the dump broke off.
pub(super) fn listeners() -> io::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    let socket = open()?;
    for family in [AF_INET, AF_INET6] {
        dump(&socket, request(family, 0, StateFlags::LISTEN, ExtensionFlags::empty()), |one| {
            seen.extend(decode(one))
        })?;
    }
    Ok(seen)
}

/// Returns the connections of the calling thread's namespace with this local port.
/// Open ones, and those that this side has closed.
///
/// # Errors
/// sock_diag does not support TCP here, or the dump broke off.
pub(super) fn connections(port: u16) -> io::Result<Vec<(SocketAddr, Sighting)>> {
    let states = || {
        StateFlags::ESTABLISHED
            | StateFlags::FIN_WAIT1
            | StateFlags::FIN_WAIT2
            | StateFlags::CLOSING
            | StateFlags::TIME_WAIT
    };
    let mut seen = Vec::new();
    let socket = open()?;
    for family in [AF_INET, AF_INET6] {
        dump(&socket, request(family, port, states(), ExtensionFlags::INFO), |one| {
            seen.extend(sighting(one))
        })?;
    }
    Ok(seen)
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a request and passes each socket of the response to `each`.
fn dump(socket: &Socket, request: Vec<u8>, mut each: impl FnMut(&InetResponse)) -> io::Result<()> {
    /// Largest message that the kernel sends.
    const ANSWER: usize = 1 << 16;
    socket.send(&request, 0)?;
    let mut buffer = vec![0; ANSWER];
    loop {
        let size = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "sock_diag broke off"));
        }
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            // Messages are aligned to multiples of four bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(one)) => each(&one),
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

/// Builds a request for all sockets in one of `states`, with this local port unless it is 0.
fn request(family: u8, port: u16, states: StateFlags, extensions: ExtensionFlags) -> Vec<u8> {
    let mut socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    socket_id.source_port = port;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(
        header,
        SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions,
            states,
            socket_id,
        })
        .into(),
    );
    message.finalize();
    let mut bytes = vec![0; message.header.length as usize];
    message.serialize(&mut bytes);
    bytes
}

fn decode(response: &InetResponse) -> Option<Seen> {
    let header = &response.header;
    let addr = header.socket_id.source_address;
    let v6_only = response.nlas.iter().find_map(|nla| match nla {
        Nla::SkV6Only(only) => Some(*only),
        _ => None,
    });
    let family = match (header.family, v6_only) {
        (AF_INET, _) => Family::Ipv4,
        (AF_INET6, only) => v6_family(addr, only),
        _ => return None,
    };
    Some(Seen {
        addr,
        port: header.socket_id.source_port,
        inode: SocketInode(header.inode.into()),
        cookie: Ok(u64::from_ne_bytes(header.socket_id.cookie)),
        family,
        interface: (header.socket_id.interface_id != 0).then_some(header.socket_id.interface_id),
        uid: header.uid,
        queue: Ok(QueueState { length: header.recv_queue, limit: header.send_queue }),
    })
}

/// Returns the peer of a connection, and whether it is idle or was closed from this side.
fn sighting(response: &InetResponse) -> Option<(SocketAddr, Sighting)> {
    let id = &response.header.socket_id;
    let peer = SocketAddr::new(id.destination_address, id.destination_port);
    if response.header.state != TCP_ESTABLISHED {
        return Some((peer, Sighting::ClosedHere));
    }
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info.as_slice()),
        _ => None,
    })?;
    // struct tcp_info of the kernel's user-space interface: both in milliseconds.
    let number = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let sent = number(offset_of!(libc::tcp_info, tcpi_last_data_sent))?;
    let received = number(offset_of!(libc::tcp_info, tcpi_last_data_recv))?;
    Some((peer, Sighting::Idle(Duration::from_millis(sent.min(received).into()))))
}

/// Returns the families that an IPv6 socket bound to `addr` accepts.
/// IPv4 is among them only if it is bound to no address or to an IPv4-mapped one.
pub(super) fn v6_family(addr: IpAddr, v6_only: Option<bool>) -> Family {
    match (addr, v6_only) {
        (IpAddr::V6(addr), _) if addr.to_ipv4_mapped().is_some() => Family::Ipv4,
        (addr, _) if !addr.is_unspecified() => Family::Ipv6,
        (_, Some(true)) => Family::Ipv6,
        (_, Some(false)) => Family::DualStack,
        (_, None) => Family::Ipv6OrDualStack,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_processs_listeners_are_found_with_their_backlog() {
        let (v4, v6) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0"));
        let Ok(all) = listeners() else { return };
        for listener in [v4, v6].into_iter().flatten() {
            let at = listener.local_addr().expect("it is bound");
            let seen = all.iter().find(|seen| seen.port == at.port()).expect("it listens");
            assert_eq!(seen.addr, at.ip());
            assert!(seen.inode.0 != 0 && seen.cookie.is_ok_and(|cookie| cookie != 0), "{seen:?}");
            assert!(seen.queue.is_ok_and(|queue| queue.length == 0 && queue.limit > 0), "{seen:?}");
        }
    }

    #[test]
    fn an_ipv6_socket_takes_ipv4_only_where_it_is_bound_to_no_address() {
        let of = |addr: &str, only| v6_family(addr.parse().expect("an address"), only);
        assert_eq!(of("::", Some(false)), Family::DualStack);
        assert_eq!(of("::", Some(true)), Family::Ipv6);
        assert_eq!(of("::1", Some(false)), Family::Ipv6);
        assert_eq!(of("::ffff:10.0.0.1", Some(false)), Family::Ipv4);
        assert_eq!(of("::", None), Family::Ipv6OrDualStack);
    }
}
