//! Calls of listen(): the backlog that the program passes, before somaxconn cuts it down, and the time.
//!
//! net/socket.c `__sys_listen(fd, backlog)` has the argument and not yet the socket; net/ipv4/af_inet.c
//! `inet_listen(sock, backlog)`, further down the same call, has the socket and what somaxconn left. One task
//! makes one such call at a time: a map by task keeps the argument for the second function.
//!
//! Both run in process context with interrupts on. A kprobe program there would be a hole (a softirq on top
//! of it runs its functions without our programs); an fentry program is none. A kernel without fentry lacks
//! this and nothing else.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, map},
    maps::{LruHashMap, RingBuf},
    programs::FEntryContext,
};
use netqueue_common::{ListenRecord, Tally};

use crate::{read::monotonic_now, sock::socket_inode, tally::tally};

/// Backlog that each task is passing to listen().
/// A call that fails before it comes to `inet_listen`, or is none of TCP's, leaves its entry until it is the
/// oldest.
#[map(name = "nq_listen_args")]
static ASKED: LruHashMap<u64, i32> = LruHashMap::with_max_entries(1024, 0);

/// Records of the calls.
/// A call that finds no room is missing, and counted; its listener's argument is then reported as missed.
#[map(name = "nq_listens")]
static LISTENS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);

#[fentry(function = "__sys_listen")]
fn nq_listen_asked(ctx: FEntryContext) -> i32 {
    let task = bpf_get_current_pid_tgid();
    let argument: i32 = ctx.arg(1);
    let _no_room = ASKED.insert(task, argument, 0);
    0
}

#[fentry(function = "inet_listen")]
fn nq_listen_begun(ctx: FEntryContext) -> i32 {
    let task = bpf_get_current_pid_tgid();
    let (socket, backlog): (u64, i32) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: the entry is this task's own, and it is here.
    let argument = unsafe { ASKED.get(task) }.copied().unwrap_or(backlog);
    let _was_there = ASKED.remove(task);
    let Ok(inode) = socket_inode(socket) else { return 0 };
    match LISTENS.reserve::<ListenRecord>(0) {
        Some(mut record) => {
            record.write(ListenRecord { time: monotonic_now(), inode, argument, backlog });
            record.submit(0);
        }
        None => tally(Tally::ListensLost),
    }
    0
}
