//! Determines the offsets, indices and constants of this kernel that the programs need.

use std::{collections::BTreeMap, sync::Arc};

use netqueue_common::KernelLayout;

use super::btf::Btf;

/// Bytes unread at which the reader is woken at once.
const WAKE_BYTES: u32 = 1 << 17;
const WAKE_INTERVAL_NANOS: u32 = 10_000_000;

/// Addresses from /proc/kallsyms.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses {
    pub(super) per_cpu_offset: u64,
    /// Address of `net_namespace_list`; 0 where it is unknown.
    pub(super) namespaces: u64,
    /// Addresses of the variables that relate a `struct page` to its page; 0 where unknown.
    pub(super) vmemmap_base: u64,
    pub(super) page_offset_base: u64,
    /// Start and end of a function that calls a hooked one, then of its cold part; 0 where unknown.
    pub(super) disconnect: [[u64; 2]; 2],
    pub(super) close: [[u64; 2]; 2],
    pub(super) abort: [[u64; 2]; 2],
    pub(super) keepalive: [[u64; 2]; 2],
    pub(super) check_req: [[u64; 2]; 2],
    pub(super) subflow_syn_recv_sock: [[u64; 2]; 2],
    /// Start and end of a hooked function.
    ///
    /// Above a return address inside it on the stack, a trampoline's program finds the caller's return
    /// address.
    pub(super) active_reset: [u64; 2],
    pub(super) queue_drop: [u64; 2],
    pub(super) v4_send_reset: [u64; 2],
    pub(super) v6_send_reset: [u64; 2],
    /// Start and end of `tcp_v6_do_rcv`, then of its cold part: a caller that may lie in a module.
    pub(super) v6_do_rcv: [[u64; 2]; 2],
    /// Start and end of the code to which functions return that a kretprobe or a rethook watches.
    pub(super) return_trampolines: [[u64; 2]; 2],
    /// Start and end of the code to which functions return that function_graph watches.
    pub(super) return_to_handler: [u64; 2],
    /// Start and end of the kernel's own code.
    pub(super) text: [u64; 2],
}

/// Reads the layout; the error lists every field and counter that is missing.
pub(super) fn read(btf: &Btf, addresses: Addresses) -> Result<KernelLayout, Vec<&'static str>> {
    let mut missing = Vec::new();
    let mut offset = |path: &'static str| btf.offset(path).unwrap_or_else(|| note(&mut missing, path));
    let mut layout = KernelLayout {
        per_cpu_offset: addresses.per_cpu_offset,
        code_of_disconnect: addresses.disconnect,
        code_of_close: addresses.close,
        code_of_abort: addresses.abort,
        code_of_keepalive: addresses.keepalive,
        code_of_check_req: addresses.check_req,
        code_of_subflow_syn_recv_sock: addresses.subflow_syn_recv_sock,
        code_of_active_reset: addresses.active_reset,
        code_of_queue_drop: addresses.queue_drop,
        code_of_v4_send_reset: addresses.v4_send_reset,
        code_of_v6_send_reset: addresses.v6_send_reset,
        code_of_v6_do_rcv: addresses.v6_do_rcv,
        code_of_return_trampolines: addresses.return_trampolines,
        code_of_return_to_handler: addresses.return_to_handler,
        kernel_text: addresses.text,
        net_namespace_list: addresses.namespaces,
        vmemmap_base: addresses.vmemmap_base,
        page_offset_base: addresses.page_offset_base,
        sock_net: offset("sock.__sk_common.skc_net.net"),
        inet_sport: offset("inet_sock.inet_sport"),
        sock_family: offset("sock.__sk_common.skc_family"),
        sock_state: offset("sock.__sk_common.skc_state"),
        sock_rcv_saddr: offset("sock.__sk_common.skc_rcv_saddr"),
        sock_v6_rcv_saddr: offset("sock.__sk_common.skc_v6_rcv_saddr"),
        sock_daddr: offset("sock.__sk_common.skc_daddr"),
        sock_v6_daddr: offset("sock.__sk_common.skc_v6_daddr"),
        sock_dport: offset("sock.__sk_common.skc_dport"),
        request_listener: offset("request_sock.__req_common.skc_listener"),
        sock_flags: offset("sock.__sk_common.skc_flags"),
        flag_linger: 0,
        flag_dead: 0,
        tcp_linger2: offset("tcp_sock.linger2"),
        sock_lingertime: offset("sock.sk_lingertime"),
        sock_ack_backlog: offset("sock.sk_ack_backlog"),
        sock_drops: offset("sock.sk_drops"),
        sock_max_ack_backlog: offset("sock.sk_max_ack_backlog"),
        sock_socket: offset("sock.sk_socket"),
        // `i_ino` lies in the second member of `struct socket_alloc`, `struct socket` is the first:
        // SOCK_INODE in
        // include/net/sock.h.
        socket_inode: offset("socket_alloc.vfs_inode") + offset("inode.i_ino")
            - offset("socket_alloc.socket"),
        icsk_qlen: offset("inet_connection_sock.icsk_accept_queue.qlen"),
        net_list: offset("net.list"),
        net_inum: offset("net.ns.inum"),
        net_statistics: offset("net.mib.net_statistics"),
        tcp_statistics: offset("net.mib.tcp_statistics"),
        net_max_syn_backlog: offset("net.ipv4.sysctl_max_syn_backlog"),
        net_local_ports: offset(LOCAL_PORTS),
        local_ports_packed: u32::from(btf.is_array(LOCAL_PORTS) == Some(false)),
        skb_head: offset("sk_buff.head"),
        skb_transport_header: offset("sk_buff.transport_header"),
        skb_network_header: offset("sk_buff.network_header"),
        skb_protocol: offset("sk_buff.protocol"),
        skb_refdst: offset("sk_buff._skb_refdst"),
        skb_len: offset("sk_buff.len"),
        skb_data_len: offset("sk_buff.data_len"),
        skb_end: offset("sk_buff.end"),
        shared_info_frags: offset("skb_shared_info.frags"),
        size_of_page: btf.size_of("page").unwrap_or(0),
        dst_dev: offset("dst_entry.dev"),
        dev_net: offset("net_device.nd_net.net"),
        mib_listen_overflows: 0,
        mib_listen_drops: 0,
        mib_reqq_full_drop: 0,
        mib_reqq_full_do_cookies: 0,
        mib_syncookies_sent: 0,
        mib_syncookies_received: 0,
        mib_syncookies_failed: 0,
        mib_embryonic_rsts: 0,
        mib_out_rsts: 0,
        reset_reason_arg: reason_argument(btf, "tcp_v4_send_reset"),
        active_reset_reason_arg: reason_argument(btf, "tcp_send_active_reset"),
        syn_recv_sock_returned: btf
            .parameters("tcp_v4_syn_recv_sock")
            .map_or(KernelLayout::ABSENT, |parameters| 8 * parameters),
        reason_abort_on_close: optional(btf, "SK_RST_REASON_TCP_ABORT_ON_CLOSE"),
        reason_abort_on_linger: optional(btf, "SK_RST_REASON_TCP_ABORT_ON_LINGER"),
        reason_abort_on_memory: optional(btf, "SK_RST_REASON_TCP_ABORT_ON_MEMORY"),
        reason_keepalive_timeout: optional(btf, "SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT"),
        wake_bytes: WAKE_BYTES,
        wake_interval: WAKE_INTERVAL_NANOS,
        tcp_rcvq_time: offset("tcp_sock.rcvq_space.time"),
        sock_protocol: offset("sock.sk_protocol"),
        mptcp_first: btf.offset("mptcp_sock.first").unwrap_or(KernelLayout::ABSENT),
        // The loader sets these (attach.rs, slots.rs).
        event_cost: 0,
        event_burst: 0,
        queue_depth: 0,
        accept_wait: 0,
        listeners: 0,
        cpus: 0,
        rows: 1,
        row_mask: 0,
        open_to_all: 0,
        sock_num: offset("sock.__sk_common.skc_num"),
        sock_hashed: offset("sock.__sk_common.skc_nulls_node.pprev"),
        request_timer: offset("request_sock.rsk_timer"),
        rdonly_cast: 0,
        window: 0,
        tcp_sock: 0,
        state_mask: 0,
        sock_shutdown: offset("sock.sk_shutdown"),
        flag_done: 0,
        tcp_rcv_nxt: offset("tcp_sock.rcv_nxt"),
        tcp_copied_seq: offset("tcp_sock.copied_seq"),
        icsk_ulp_ops: offset("inet_connection_sock.icsk_ulp_ops"),
        rtable_type: offset("rtable.rt_type"),
        reason_invalid_syn: optional(btf, "SK_RST_REASON_INVALID_SYN"),
        reason_mptcp_first: optional(btf, "SK_RST_REASON_MPTCP_RST_EUNSPEC"),
        reason_mptcp_last: optional(btf, "SK_RST_REASON_MPTCP_RST_EMIDDLEBOX"),
    };
    // A MIB block is an array of unsigned long, which is as wide in the kernel as in this process.
    let mut cell = |name: &'static str| match btf.enumerator(name) {
        Some(index) => index * size_of::<usize>() as u32,
        None => note(&mut missing, name),
    };
    layout.mib_listen_overflows = cell("LINUX_MIB_LISTENOVERFLOWS");
    layout.mib_listen_drops = cell("LINUX_MIB_LISTENDROPS");
    layout.mib_reqq_full_drop = cell("LINUX_MIB_TCPREQQFULLDROP");
    layout.mib_reqq_full_do_cookies = cell("LINUX_MIB_TCPREQQFULLDOCOOKIES");
    layout.mib_syncookies_sent = cell("LINUX_MIB_SYNCOOKIESSENT");
    layout.mib_syncookies_received = cell("LINUX_MIB_SYNCOOKIESRECV");
    layout.mib_syncookies_failed = cell("LINUX_MIB_SYNCOOKIESFAILED");
    layout.mib_embryonic_rsts = cell("LINUX_MIB_EMBRYONICRSTS");
    layout.mib_out_rsts = cell("TCP_MIB_OUTRSTS");
    let mut flag = |name: &'static str| btf.enumerator(name).unwrap_or_else(|| note(&mut missing, name));
    layout.flag_linger = flag("SOCK_LINGER");
    layout.flag_dead = flag("SOCK_DEAD");
    layout.flag_done = flag("SOCK_DONE");
    if let (Some(cast), Some(window), Some(tcp_sock)) =
        (btf.function("bpf_rdonly_cast"), btf.structure("linux_mib"), btf.structure("tcp_sock"))
    {
        (layout.rdonly_cast, layout.window, layout.tcp_sock) = (cast, window, tcp_sock);
    }
    if missing.is_empty() { Ok(layout) } else { Err(missing) }
}

fn note(missing: &mut Vec<&'static str>, name: &'static str) -> u32 {
    missing.push(name);
    0
}

fn reason_argument(btf: &Btf, function: &str) -> u32 {
    btf.enum_parameter(function, REASON).unwrap_or(KernelLayout::ABSENT)
}

fn optional(btf: &Btf, enumerator: &str) -> u32 {
    btf.enumerator(enumerator).unwrap_or(KernelLayout::ABSENT)
}

const LOCAL_PORTS: &str = "net.ipv4.ip_local_ports.range";
const REASON: &str = "sk_rst_reason";

/// Returns the kernel's names for its reset reasons, by value, without their prefix. Empty before 6.10.
pub(super) fn reset_reasons(btf: &Btf) -> ResetReasons {
    let short = |name: String| name.strip_prefix("SK_RST_REASON_").unwrap_or(&name).into();
    btf.enumerators(REASON).into_iter().map(|(value, name)| (value, short(name))).collect()
}

/// Names of the kernel's reset reasons, by value.
pub(super) type ResetReasons = BTreeMap<u32, Arc<str>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named() {
        let missing = read(&Btf::empty(), Addresses::default()).expect_err("nothing is there");
        assert!(missing.contains(&"sock.sk_max_ack_backlog") && missing.contains(&"LINUX_MIB_LISTENDROPS"));
    }
}
