//! Requests to the kernel's netlink, for the calling thread's network namespace.
//! They bring loopback up, give it an address, route a network of nonexistent peers to a device or nowhere, and
//! destroy sockets.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

use super::verdict::Skip;

/// The loopback device is the first of every network namespace.
pub(super) const LOOPBACK_INDEX: i32 = 1;

/// `ip link set lo up`
pub(super) fn loopback_up() -> Result<()> {
    let body = link(LOOPBACK_INDEX, libc::IFF_UP as u32);
    request(libc::RTM_NEWLINK, 0, &body).context("cannot bring the loopback device up")
}

/// `ip link add NAME type veth`, both ends up and without ARP; returns the index of the device.
/// The device swallows every packet sent on it, because the frames that leave its other end are addressed to
/// nobody there.
pub(super) fn swallowing_device(name: &str) -> Result<i32> {
    let other_end = format!("{name}-end");
    pair(name, &named(&other_end))?;
    up_without_arp(&other_end)?;
    up_without_arp(name)
}

/// `ip link add NAME type veth peer name NAME netns PEER`: a wire between this namespace and another.
pub(super) fn wire(name: &str, peer: &impl AsRawFd) -> Result<()> {
    let mut other_end = named(name);
    attribute(&mut other_end, libc::IFLA_NET_NS_FD, &peer.as_raw_fd().to_ne_bytes());
    pair(name, &other_end)
}

/// `ip address add ADDRESS/LENGTH dev NAME; ip link set NAME up`
pub(super) fn address(name: &str, address: Ipv4Addr, prefix_length: u8) -> Result<()> {
    let index = if_nametoindex(name).with_context(|| format!("the device {name} is not there"))? as i32;
    let mut body = vec![libc::AF_INET as u8, prefix_length, 0, libc::RT_SCOPE_UNIVERSE];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &address.octets());
    attribute(&mut body, libc::IFA_ADDRESS, &address.octets());
    request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
        .with_context(|| format!("cannot give {address} to {name}"))?;
    request(libc::RTM_NEWLINK, 0, &link(index, libc::IFF_UP as u32))
        .with_context(|| format!("cannot bring the device {name} up"))
}

fn named(name: &str) -> Vec<u8> {
    let mut body = link(0, 0);
    attribute(&mut body, libc::IFLA_IFNAME, format!("{name}\0").as_bytes());
    body
}

/// Makes a pair of virtual Ethernet devices, of which `other_end` describes the second.
fn pair(name: &str, other_end: &[u8]) -> Result<()> {
    const VETH_INFO_PEER: u16 = 1;
    let mut pair = Vec::new();
    attribute(&mut pair, VETH_INFO_PEER, other_end);
    let mut kind = Vec::new();
    attribute(&mut kind, libc::IFLA_INFO_KIND, b"veth");
    attribute(&mut kind, libc::IFLA_INFO_DATA, &pair);
    let mut body = named(name);
    attribute(&mut body, libc::IFLA_LINKINFO, &kind);
    request(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body).map_err(|error| {
        Skip::because(format!(
            "this kernel gives no pair of virtual Ethernet devices (CONFIG_VETH): {error:#}"
        ))
    })
}

fn up_without_arp(name: &str) -> Result<i32> {
    let index = if_nametoindex(name).with_context(|| format!("the device {name} is not there"))? as i32;
    request(libc::RTM_NEWLINK, 0, &link(index, (libc::IFF_UP | libc::IFF_NOARP) as u32))
        .with_context(|| format!("cannot bring the device {name} up"))?;
    Ok(index)
}

/// `struct ifinfomsg`: a device, and the flags to set.
fn link(index: i32, flags: u32) -> Vec<u8> {
    let mut body = vec![libc::AF_UNSPEC as u8, 0];
    body.extend(0u16.to_ne_bytes());
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body
}

/// The treatment of packets to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Packets leave through the device with this index.
    Through(i32),
    /// Packets cannot be sent.
    Unreachable,
}

/// `ip route replace NETWORK/LENGTH dev DEVICE`, or `ip route replace unreachable NETWORK/LENGTH`
pub(super) fn route(network: IpAddr, prefix_length: u8, what: Route) -> Result<()> {
    let family = if network.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let (scope, kind) = match what {
        Route::Through(_) => (libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
        Route::Unreachable => (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE),
    };
    let mut body =
        vec![family as u8, prefix_length, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, kind];
    body.extend(0u32.to_ne_bytes());
    match network {
        IpAddr::V4(network) => attribute(&mut body, libc::RTA_DST, &network.octets()),
        IpAddr::V6(network) => attribute(&mut body, libc::RTA_DST, &network.octets()),
    }
    if let Route::Through(device) = what {
        attribute(&mut body, libc::RTA_OIF, &device.to_ne_bytes());
    }
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    request(libc::RTM_NEWROUTE, flags, &body)
        .with_context(|| format!("cannot make the route of {network}/{prefix_length} {what:?}"))
}

/// `ip address add ADDRESS/LENGTH dev lo`
pub(super) fn address_on_loopback(address: Ipv6Addr, prefix_length: u8) -> Result<()> {
    let mut body = vec![libc::AF_INET6 as u8, prefix_length, 0, libc::RT_SCOPE_UNIVERSE];
    body.extend(LOOPBACK_INDEX.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &address.octets());
    request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
        .with_context(|| format!("cannot give {address} to lo"))
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// `ss -K src LOCAL dst PEER`: destroys a TCP socket, also one that no process holds.
pub(super) fn destroy(local: SocketAddr, peer: SocketAddr) -> Result<()> {
    /// include/uapi/linux/sock_diag.h
    const SOCK_DESTROY: u16 = 21;
    /// Any socket of these ends: INET_DIAG_NOCOOKIE.
    const ANY_COOKIE: [u8; 8] = [0xff; 8];
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    };
    // struct inet_diag_req_v2: no extensions, every state, no interface.
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    body.extend(octets(local.ip()));
    body.extend(octets(peer.ip()));
    body.extend(0u32.to_ne_bytes());
    body.extend(ANY_COOKIE);
    acknowledged(libc::NETLINK_SOCK_DIAG, SOCK_DESTROY, 0, &body)
        .with_context(|| format!("cannot destroy the socket {local} of {peer}"))
}

/// Sends one request to routing netlink and waits for its acknowledgement.
fn request(kind: u16, flags: i32, body: &[u8]) -> Result<()> {
    acknowledged(libc::NETLINK_ROUTE, kind, flags, body)
}

/// Sends one request and waits for its acknowledgement.
fn acknowledged(protocol: i32, kind: u16, flags: i32, body: &[u8]) -> Result<()> {
    const HEADER: usize = 16;
    let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);

    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol.into()))?;
    socket.send(&message)?;
    let mut answer = [0u8; 256];
    let length = socket.read(&mut answer)?;
    // An acknowledgement is an error message whose first field after the header is zero or a negative errno.
    let Some(errno) = answer[..length].get(HEADER..HEADER + 4).and_then(|field| field.try_into().ok()) else {
        bail!("the kernel's netlink answer is too short: {length} bytes");
    };
    match i32::from_ne_bytes(errno) {
        0 => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(-errno).into()),
    }
}
