//! A wire between the namespace of servers and that of their clients.

use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::netns::Netns;
use super::{netlink, sysctl};

/// Address of the servers.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Address of the clients.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const WIRE: &str = "nq-wire";

/// Joins both namespaces, and gives them the sysctls of a stock kernel.
pub(super) fn join(servers: &Netns, clients: &Netns) -> Result<()> {
    let there = clients.run(|| {
        sysctl::defaults()?;
        File::open("/proc/thread-self/ns/net").context("cannot open the clients' namespace")
    })?;
    servers.run(move || {
        sysctl::defaults()?;
        netlink::wire(WIRE, &there)?;
        netlink::address(WIRE, SERVER, 24)
    })?;
    clients.run(|| netlink::address(WIRE, CLIENT, 24))
}
