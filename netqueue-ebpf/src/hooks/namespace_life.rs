//! Beginning and end of network namespaces.
//!
//! net/ipv4/tcp_ipv4.c `tcp_sk_init(net)`: the TCP part of a new namespace is made; nothing was counted in it
//! yet. The function runs once for each namespace, when the namespace has its number.
//!
//! net/ipv4/af_inet.c `ipv4_mib_exit_net(net)`: the namespace's counters are about to be given back. Its
//! sockets are gone, also the kernel's own that resets are sent from: nothing counts any more.
//!
//! fs/proc/generic.c `proc_free_inum(inum)`: an inode number may be given out again. The namespace does
//! nothing any more: its sockets are gone, and so are its counters. Namespaces of other types and entries of
//! /proc have numbers of the same kind, so that more is counted than network namespaces; the next owner of a
//! number is another all the same.

use super::call::{Entry, entry};
use crate::{net::Net, netns_final, netns_generation, read::Fault};

#[inline(always)]
fn begun(call: &impl Entry) -> Result<(), Fault> {
    Net(call.arg(0)).inum().map(netns_generation::begun)
}

#[inline(always)]
fn ended(call: &impl Entry) -> Result<(), Fault> {
    netns_final::ended(Net(call.arg(0)))
}

#[inline(always)]
fn freed(call: &impl Entry) -> Result<(), Fault> {
    netns_generation::freed(call.number(0) as u32);
    Ok(())
}

entry!(begun; nq_tcp_sk_init, nq_tcp_sk_init_fentry);
entry!(ended; nq_ipv4_mib_exit_net, nq_ipv4_mib_exit_net_fentry);
entry!(freed; nq_proc_free_inum, nq_proc_free_inum_fentry);
