//! net/ipv4/tcp_metrics.c `tcp_peer_is_proven(req, dst)`: asked only by the last-quarter rule; false is its drop.

use aya_ebpf::{macros::kretprobe, programs::RetProbeContext};

use crate::maps::state;

#[kretprobe]
fn tcp_peer_is_proven_return(ctx: RetProbeContext) -> u32 {
    // A bool is returned in the low byte.
    let proven = ctx.ret::<u64>() & 0xff != 0;
    if !proven
        && let Some(state) = state()
        && state.syn.is_open()
    {
        state.syn.mark = 1;
    }
    0
}
