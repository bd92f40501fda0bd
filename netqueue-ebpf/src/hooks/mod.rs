//! One file per hooked kernel function: what is noted at its entry, what is charged at its return, and the thin
//! programs that attach both.

mod active_reset;
mod call;
mod check_req;
mod conn_request;
mod cookie_check;
mod listen_call;
mod listener_life;
mod namespace_life;
mod peer_is_proven;
mod req_err;
mod request_timer;
mod rtx_synack;
mod send_reset;
mod sock_graft;
mod syn_recv_sock;
