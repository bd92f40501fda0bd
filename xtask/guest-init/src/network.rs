//! Brings the loopback and the guest's card up, with an address and a default route.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use libc::{c_char, c_short, ifreq, rtentry, sockaddr, sockaddr_in};

use crate::console::say;

/// The only network card of a guest.
const CARD: &str = "eth0";

/// Brings the loopback up.
pub(crate) fn loopback() -> Result<()> {
    up(&control()?, "lo").context("the loopback cannot be brought up")
}

/// Gives the card its address and the default route.
pub(crate) fn card(address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<()> {
    ensure!((1..=32).contains(&prefix), "a prefix of {prefix} bits is not one of 1 to 32");
    let control = control()?;
    let mask = Ipv4Addr::from(u32::MAX << (32 - u32::from(prefix)));
    set_address(&control, libc::SIOCSIFADDR, address).with_context(|| format!("{CARD} takes no address"))?;
    set_address(&control, libc::SIOCSIFNETMASK, mask).with_context(|| format!("{CARD} takes no netmask"))?;
    up(&control, CARD).with_context(|| format!("{CARD} cannot be brought up"))?;
    // SAFETY: rtentry is plain C data; all zeroes is a route with nothing set.
    let mut route: rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = generic(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = generic(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = generic(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: SIOCADDRT reads one rtentry, which outlives the call.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCADDRT, &raw const route) })
        .with_context(|| format!("no default route through {gateway}"))?;
    say(format_args!("{CARD} has {address}/{prefix}, everything else through {gateway}"));
    Ok(())
}

fn control() -> Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no socket to configure the network with")
}

fn up(control: &UdpSocket, name: &str) -> Result<()> {
    let mut request = request(name)?;
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = c_short::try_from(flags).context("interface flags fit 16 bits")?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

fn set_address(control: &UdpSocket, what: libc::Ioctl, address: Ipv4Addr) -> Result<()> {
    let mut request = request(CARD)?;
    request.ifr_ifru.ifru_addr = generic(address);
    // SAFETY: both address requests read one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(control.as_raw_fd(), what, &raw const request) })
}

fn request(name: &str) -> Result<ifreq> {
    // SAFETY: ifreq is plain C data; all zeroes is a request for no interface.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "{name} is too long for an interface");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Converts an IPv4 address to the generic form that the ioctls take.
fn generic(address: Ipv4Addr) -> sockaddr {
    let typed = sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16 bytes of plain data, and sockaddr is what a sockaddr_in is passed as.
    unsafe { std::mem::transmute::<sockaddr_in, sockaddr>(typed) }
}

fn check(result: libc::c_int) -> Result<()> {
    if result < 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
}
