//! Facts about the running kernel that the kernel side needs.
//! The loader reads them from BTF and kallsyms; none is compiled in.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offsets, indices and constants of the running kernel.
/// The loader writes each `u32` into the instructions of the programs; the other members are read from a
/// frozen global.
///
/// `u32` fields named after a struct member are byte offsets from the start of that struct. `mib_*` fields
/// are byte offsets of a counter from the start of the per-CPU MIB block (`net->mib.net_statistics`, and
/// `net->mib.tcp_statistics` for OutRsts). `reason_*` fields are values of `enum sk_rst_reason`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct KernelLayout {
    /// Kernel address of the array `__per_cpu_offset`.
    pub per_cpu_offset: u64,
    /// Bounds of the code of `tcp_disconnect`, then those of its cold part (`tcp_disconnect.cold`).
    /// The compiler moves code that seldom runs to the cold part. Bounds are both 0 if they are not known, or
    /// if there is no such part.
    pub code_of_disconnect: [[u64; 2]; 2],
    /// Bounds of the code of `__tcp_close`, as in [`Self::code_of_disconnect`].
    pub code_of_close: [[u64; 2]; 2],
    /// Bounds of the code of `tcp_abort`, as in [`Self::code_of_disconnect`].
    pub code_of_abort: [[u64; 2]; 2],
    /// Bounds of the code of `tcp_keepalive_timer`, as in [`Self::code_of_disconnect`].
    pub code_of_keepalive: [[u64; 2]; 2],
    /// Bounds of the code of `tcp_check_req`, as in [`Self::code_of_disconnect`].
    pub code_of_check_req: [[u64; 2]; 2],
    /// Bounds of the code of `subflow_syn_recv_sock`, as in [`Self::code_of_disconnect`].
    pub code_of_subflow_syn_recv_sock: [[u64; 2]; 2],
    /// Bounds of the code of `tcp_send_active_reset`; both 0 if not known.
    pub code_of_active_reset: [u64; 2],
    /// Bounds of the code of `inet_csk_reqsk_queue_drop`; both 0 if not known.
    pub code_of_queue_drop: [u64; 2],
    /// Bounds of the code of `tcp_v4_send_reset`; both 0 if not known.
    pub code_of_v4_send_reset: [u64; 2],
    /// Bounds of the code of `tcp_v6_send_reset`; both 0 if not known.
    pub code_of_v6_send_reset: [u64; 2],

    /// Bounds of the code of `tcp_v6_do_rcv`, as in [`Self::code_of_disconnect`].
    /// IPv6 may be a module, whose code lies outside [`Self::kernel_text`].
    pub code_of_v6_do_rcv: [[u64; 2]; 2],
    /// Bounds of the return trampolines of kretprobes and of rethooks; both 0 if there is none.
    /// A function that a kretprobe or an fprobe watches returns there instead of to its caller.
    pub code_of_return_trampolines: [[u64; 2]; 2],
    /// Bounds of the return trampoline of function_graph, `return_to_handler`; both 0 if there is none.
    pub code_of_return_to_handler: [u64; 2],
    /// Bounds of the kernel's own code (`_stext`, `_etext`); both 0 if not known.
    pub kernel_text: [u64; 2],

    /// Kernel address of the list of network namespaces, `net_namespace_list`.
    pub net_namespace_list: u64,

    /// Kernel address of `vmemmap_base`: the address of the first `struct page`.
    /// 0 if this kernel has no such variable (only x86 has it).
    pub vmemmap_base: u64,
    /// Kernel address of `page_offset_base`, the address of the first page itself, or 0.
    pub page_offset_base: u64,

    /// Nanoseconds of allowance one event costs its account on one CPU; 0: events are not limited.
    pub event_cost: u64,
    /// Nanoseconds of allowance that a silent account can save up, less the cost of one event.
    pub event_burst: u64,

    /// `sock.__sk_common.skc_net.net`
    pub sock_net: u32,
    /// `inet_sock.inet_sport`: the local port, network byte order; unlike `skc_num` it outlives the port's
    /// release.
    pub inet_sport: u32,
    /// `sock.__sk_common.skc_family`
    pub sock_family: u32,
    /// `sock.__sk_common.skc_state`
    pub sock_state: u32,
    /// `sock.__sk_common.skc_rcv_saddr`
    pub sock_rcv_saddr: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    pub sock_v6_rcv_saddr: u32,
    /// `sock.__sk_common.skc_daddr`
    pub sock_daddr: u32,
    /// `sock.__sk_common.skc_v6_daddr`
    pub sock_v6_daddr: u32,
    /// `sock.__sk_common.skc_dport`
    pub sock_dport: u32,
    /// `request_sock.__req_common.skc_listener`
    pub request_listener: u32,
    /// `sock.__sk_common.skc_flags`
    pub sock_flags: u32,
    /// Bit number of SOCK_LINGER in [`Self::sock_flags`].
    pub flag_linger: u32,
    /// Bit number of SOCK_DEAD in [`Self::sock_flags`].
    pub flag_dead: u32,
    /// `tcp_sock.linger2`
    pub tcp_linger2: u32,
    /// `sock.sk_lingertime`
    pub sock_lingertime: u32,
    /// `sock.sk_ack_backlog`
    pub sock_ack_backlog: u32,
    /// `sock.sk_drops`
    pub sock_drops: u32,
    /// `sock.sk_max_ack_backlog`
    pub sock_max_ack_backlog: u32,
    /// `sock.sk_socket`
    pub sock_socket: u32,
    /// Offset from a `struct socket` to its inode number: `vfs_inode.i_ino` of its `struct socket_alloc`.
    pub socket_inode: u32,
    /// `inet_connection_sock.icsk_accept_queue.qlen`
    pub icsk_qlen: u32,

    /// `net.list`
    pub net_list: u32,
    /// `net.ns.inum`
    pub net_inum: u32,
    /// `net.mib.net_statistics`
    pub net_statistics: u32,
    /// `net.mib.tcp_statistics`
    pub tcp_statistics: u32,
    /// `net.ipv4.sysctl_max_syn_backlog`
    pub net_max_syn_backlog: u32,
    /// `net.ipv4.ip_local_ports.range`
    pub net_local_ports: u32,
    /// 1 if [`Self::net_local_ports`] is one `u32` (from 6.8), 0 if it is two `int`.
    /// The highest port is in the upper half of the `u32`.
    pub local_ports_packed: u32,

    /// `sk_buff.head`
    pub skb_head: u32,
    /// `sk_buff.transport_header`
    pub skb_transport_header: u32,
    /// `sk_buff.network_header`
    pub skb_network_header: u32,
    /// `sk_buff.protocol`
    pub skb_protocol: u32,
    /// `sk_buff._skb_refdst`
    pub skb_refdst: u32,
    /// `sk_buff.len`
    pub skb_len: u32,
    /// `sk_buff.data_len`: the part of the length that lies in fragments.
    pub skb_data_len: u32,
    /// `sk_buff.end`: offset of the `struct skb_shared_info` from the head.
    pub skb_end: u32,
    /// `skb_shared_info.frags`
    pub shared_info_frags: u32,
    /// Size of a `struct page`.
    pub size_of_page: u32,
    /// `dst_entry.dev`
    pub dst_dev: u32,
    /// `net_device.nd_net.net`
    pub dev_net: u32,

    /// LINUX_MIB_LISTENOVERFLOWS
    pub mib_listen_overflows: u32,
    /// LINUX_MIB_LISTENDROPS
    pub mib_listen_drops: u32,
    /// LINUX_MIB_TCPREQQFULLDROP
    pub mib_reqq_full_drop: u32,
    /// LINUX_MIB_TCPREQQFULLDOCOOKIES
    pub mib_reqq_full_do_cookies: u32,
    /// LINUX_MIB_SYNCOOKIESSENT
    pub mib_syncookies_sent: u32,
    /// LINUX_MIB_SYNCOOKIESRECV
    pub mib_syncookies_received: u32,
    /// LINUX_MIB_SYNCOOKIESFAILED
    pub mib_syncookies_failed: u32,
    /// LINUX_MIB_EMBRYONICRSTS
    pub mib_embryonic_rsts: u32,
    /// TCP_MIB_OUTRSTS
    pub mib_out_rsts: u32,

    /// Position of the `reason` argument of `tcp_v4_send_reset` and `tcp_v6_send_reset`.
    /// [`Self::ABSENT`] before 6.10.
    pub reset_reason_arg: u32,
    /// Position of the `reason` argument of `tcp_send_active_reset`; [`Self::ABSENT`] before 6.10.
    pub active_reset_reason_arg: u32,
    /// Offset from the first argument to the returned value, as a trampoline lays them out.
    /// The function is `tcp_v4_syn_recv_sock` or `tcp_v6_syn_recv_sock`: 8 bytes for each parameter, of which
    /// there are 6, from 7.0 on 7.
    pub syn_recv_sock_returned: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_CLOSE, or [`Self::ABSENT`].
    pub reason_abort_on_close: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_LINGER, or [`Self::ABSENT`].
    pub reason_abort_on_linger: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_MEMORY, or [`Self::ABSENT`].
    pub reason_abort_on_memory: u32,
    /// SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT, or [`Self::ABSENT`].
    pub reason_keepalive_timeout: u32,

    /// Bytes of unread ring buffer from which on the reader is woken at once.
    pub wake_bytes: u32,
    /// Nanoseconds after a wake-up during which this CPU does not wake the reader again.
    /// From [`Self::wake_bytes`] of unread data on, the reader is woken all the same.
    pub wake_interval: u32,
    /// 1 if the accept queue's length is noted with each connection that enters it.
    pub queue_depth: u32,
    /// 1 if accepted connections are counted and their wait is measured.
    pub accept_wait: u32,
    /// `tcp_sock.rcvq_space.time`
    pub tcp_rcvq_time: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `mptcp_sock.first`, or [`Self::ABSENT`].
    pub mptcp_first: u32,
    /// Number of slots for listeners, which are the first slots.
    pub listeners: u32,
    /// Number of slots that any listener may take, which are the first of [`Self::listeners`].
    /// The others are reserved for listeners that drop or reset.
    pub open_to_all: u32,
    /// Number of possible CPUs.
    pub cpus: u32,
    /// Number of rows of counts per slot, a power of two.
    /// If there are more CPUs than rows, several CPUs share a row.
    pub rows: u32,
    /// Mask that turns the number of a CPU into that of its row: [`Self::rows`] less one.
    pub row_mask: u32,
    /// `sock.__sk_common.skc_num`
    pub sock_num: u32,
    /// `sock.__sk_common.skc_nulls_node.pprev`: NULL while the socket is in no hash table.
    pub sock_hashed: u32,
    /// `request_sock.rsk_timer`
    pub request_timer: u32,
    /// BTF id of the function `bpf_rdonly_cast` (from 6.2); 0 if the kernel lacks it.
    /// The function turns any address into a pointer to a structure that may be read without a helper.
    pub rdonly_cast: u32,
    /// BTF id of `struct linux_mib`, an array of 64-bit numbers.
    /// Addresses of integers are cast to this type in order to load them without a helper.
    pub window: u32,
    /// BTF id of `struct tcp_sock`.
    pub tcp_sock: u32,
    /// Mask of the index of a CPU's state: the number of states, a power of two, less one.
    pub state_mask: u32,
    /// `sock.sk_shutdown`
    pub sock_shutdown: u32,
    /// Bit number of SOCK_DONE in `skc_flags`.
    pub flag_done: u32,
    /// `tcp_sock.rcv_nxt`
    pub tcp_rcv_nxt: u32,
    /// `tcp_sock.copied_seq`
    pub tcp_copied_seq: u32,
    /// `inet_connection_sock.icsk_ulp_ops`
    pub icsk_ulp_ops: u32,
    /// `rtable.rt_type`
    pub rtable_type: u32,
    /// SK_RST_REASON_INVALID_SYN, or [`Self::ABSENT`].
    pub reason_invalid_syn: u32,
    /// SK_RST_REASON_MPTCP_RST_EUNSPEC, the first reason of Multipath TCP, or [`Self::ABSENT`].
    pub reason_mptcp_first: u32,
    /// SK_RST_REASON_MPTCP_RST_EMIDDLEBOX, the last reason of Multipath TCP, or [`Self::ABSENT`].
    pub reason_mptcp_last: u32,
}

impl KernelLayout {
    /// Value of an argument position or a constant that this kernel does not have.
    pub const ABSENT: u32 = u32::MAX;

    /// Placeholder for the kernel function `bpf_rdonly_cast`, as the number of a helper in a call.
    /// The function's number differs between kernels, and no helper has this number. The loader inserts the
    /// function, or a zero if the kernel lacks it.
    pub const CAST: u32 = 0x6e71_0001;

    /// Placeholder for a `u32` of this structure as an operand: this number plus the field's offset.
    /// Programs set a register to the field or use it as a mask. The loader replaces the operand by the
    /// field's value.
    pub const NUMBER: u32 = 0x6e72_0000;

    /// Placeholder for a `u32` of this structure as a load's offset: this number plus the field's offset.
    /// The programs have three instructions (offset, addition, load), which the loader makes one load if the
    /// field's value fits 16 bits with a sign.
    pub const LOAD: u32 = 0x6e73_0000;
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (proven by IntoBytes), any bytes are a value (by FromBytes).
unsafe impl aya::Pod for KernelLayout {}
