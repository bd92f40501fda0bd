//! The lives of network namespaces.
//!
//! net/ipv4/tcp_ipv4.c `tcp_sk_init(net)`: the TCP part of a new namespace is made; nothing was counted in it yet. It runs
//! once for each, when the namespace has its number.
//!
//! net/ipv4/af_inet.c `ipv4_mib_exit_net(net)`: its counters are about to be given back. Its sockets are gone, also the
//! kernel's own that resets are sent from: nothing counts any more.
//!
//! fs/proc/generic.c `proc_free_inum(inum)`: an inode number may be given out again. All that a namespace did is done: its
//! sockets are gone, and so are its counters. Namespaces of other types and entries of /proc have numbers of the same kind,
//! so that more is counted than network namespaces; what has a number next is another all the same.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};

use super::arg;
use crate::{account::observe, kernel::Net, lives};

#[kprobe]
fn tcp_sk_init(ctx: ProbeContext) -> u32 {
    observe(Net(arg(&ctx, 0)).inum().map(lives::begun))
}

#[kprobe]
fn ipv4_mib_exit_net(ctx: ProbeContext) -> u32 {
    observe(lives::ended(Net(arg(&ctx, 0))))
}

#[kprobe]
fn proc_free_inum(ctx: ProbeContext) -> u32 {
    lives::freed(arg(&ctx, 0) as u32);
    0
}
