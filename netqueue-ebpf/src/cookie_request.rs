//! Program that requests SYN cookies in a listener's name, as protection against floods does.
//! The lab runs it by BPF_PROG_TEST_RUN.

use core::mem::size_of_val;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_tuple,
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release, bpf_tcp_gen_syncookie},
    macros::classifier,
    programs::TcContext,
};

/// Offsets in a frame: of an IPv4 header, and of the TCP header after one without options.
const IP: usize = 14;
const TCP: usize = IP + 20;

/// Return value if there was no request: nobody listens there, or something else prevented it.
const NOT_ASKED: i32 = 1;
/// Return value if there was a request, whatever its outcome.
const ASKED: i32 = 0;

/// Requests a cookie for this packet, a frame with a SYN in IPv4.
#[classifier]
fn nq_cookie_helper(ctx: TcContext) -> i32 {
    let (Ok(mut ip), Ok(mut tcp)) = (ctx.load::<[u32; 5]>(IP), ctx.load::<[u32; 5]>(TCP)) else {
        return NOT_ASKED;
    };
    // Source and destination, addresses and then ports.
    let mut tuple = [ip[3], ip[4], tcp[0]];
    // SAFETY: pointers to what lives until the end of this function, with their sizes; the socket is given
    // back.
    unsafe {
        let here = u64::MAX;
        let sk = bpf_sk_lookup_tcp(
            ctx.as_ptr(),
            (&raw mut tuple).cast::<bpf_sock_tuple>(),
            size_of_val(&tuple) as u32,
            here,
            0,
        );
        if sk.is_null() {
            return NOT_ASKED;
        }
        bpf_tcp_gen_syncookie(
            sk.cast(),
            (&raw mut ip).cast(),
            size_of_val(&ip) as u32,
            (&raw mut tcp).cast(),
            size_of_val(&tcp) as u32,
        );
        bpf_sk_release(sk.cast());
    }
    ASKED
}
