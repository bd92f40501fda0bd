//! net/ipv4/tcp_metrics.c `tcp_peer_is_proven(req, dst)`: false if the last-quarter rule drops a SYN.
//! Only that rule calls the function, within `tcp_conn_request`.

use super::call::{Return, leaving};
use crate::{maps::state, read::Fault};

#[inline(always)]
fn leave(call: &impl Return) -> Result<(), Fault> {
    let state = state();
    // A bool is returned in the low byte.
    let proven = call.ret() & 0xff != 0;
    if !proven {
        state.unproven = 1;
    }
    Ok(())
}

leaving!(leave; nq_tcp_peer_is_proven_return, nq_tcp_peer_is_proven_fexit);
