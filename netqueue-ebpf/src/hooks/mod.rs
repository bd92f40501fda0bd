//! One file per hooked kernel function: notes at its entry, charges at its return.
//! Each file also has the thin programs that attach both. Where a connection goes well, fexit programs do
//! without an entry program, because they see the arguments.

mod active_reset;
mod call;
mod conn_request;
mod cookie_check;
mod cookie_helper;
mod listen_call;
mod listener_life;
mod namespace_life;
mod peer_is_proven;
mod queue_drop;
mod req_err;
mod request_timer;
mod reset_mark;
mod rtx_synack;
mod send_reset;
mod smc_syn_recv_sock;
mod sock_graft;
mod syn_recv_sock;
mod trampoline;
