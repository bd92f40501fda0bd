//! Two requests to the kernel's routing netlink, for the calling thread's network namespace: bring loopback up, and
//! route a network of peers that do not exist to it.

use std::io::Read;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Socket, Type};

/// The loopback device is the first of every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// `ip link set lo up`
pub(super) fn loopback_up() -> Result<()> {
    let up = libc::IFF_UP as u32;
    let mut body = vec![libc::AF_UNSPEC as u8, 0];
    body.extend(0u16.to_ne_bytes());
    body.extend(LOOPBACK_INDEX.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    request(libc::RTM_NEWLINK, 0, &body).context("cannot bring the loopback device up")
}

/// `ip route add NETWORK/LENGTH dev lo`
pub(super) fn route_to_loopback(network: Ipv4Addr, prefix_length: u8) -> Result<()> {
    let mut body = vec![
        libc::AF_INET as u8,
        prefix_length,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_LINK,
        libc::RTN_UNICAST,
    ];
    body.extend(0u32.to_ne_bytes());
    attribute(&mut body, libc::RTA_DST, network.octets());
    attribute(&mut body, libc::RTA_OIF, LOOPBACK_INDEX.to_ne_bytes());
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    request(libc::RTM_NEWROUTE, flags, &body)
        .with_context(|| format!("cannot route {network}/{prefix_length} to lo"))
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    body.extend(8u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// Sends one request and waits for its acknowledgement.
fn request(kind: u16, flags: i32, body: &[u8]) -> Result<()> {
    const HEADER: usize = 16;
    let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);

    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None)?;
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
