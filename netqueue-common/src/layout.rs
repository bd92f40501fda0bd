//! What the kernel side must know of the running kernel: read from BTF and kallsyms at load, never compiled in.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offsets, indices and constants of the running kernel. The loader puts them into the programs' instructions; what is not a
/// `u32` is read from a global that is frozen.
///
/// `u32` fields named after a struct member are byte offsets from the start of that struct. `mib_*` fields are byte
/// offsets of a counter's cell from the start of the per-CPU MIB block (`net->mib.net_statistics`, and
/// `net->mib.tcp_statistics` for OutRsts). `reason_*` fields are values of `enum sk_rst_reason`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct KernelLayout {
    /// Kernel address of the array `__per_cpu_offset`.
    pub per_cpu_offset: u64,
    /// Where the code of `tcp_disconnect` begins and ends, and then that of what the compiler put elsewhere because it seldom
    /// runs (`tcp_disconnect.cold`); both 0 where that is not known, or there is none.
    pub code_of_disconnect: [[u64; 2]; 2],
    /// The same of `__tcp_close`.
    pub code_of_close: [[u64; 2]; 2],
    /// The same of `tcp_keepalive_timer`.
    pub code_of_keepalive: [[u64; 2]; 2],
    /// The same of `tcp_check_req`.
    pub code_of_check_req: [[u64; 2]; 2],
    /// The same of `subflow_syn_recv_sock`.
    pub code_of_subflow_syn_recv_sock: [[u64; 2]; 2],
    /// Where the code of `tcp_send_active_reset` begins and ends; both 0 where that is not known.
    pub code_of_active_reset: [u64; 2],
    /// The same of `inet_csk_reqsk_queue_drop`.
    pub code_of_queue_drop: [u64; 2],
    /// The same of `tcp_v4_send_reset`.
    pub code_of_v4_send_reset: [u64; 2],
    /// The same of `tcp_v6_send_reset`.
    pub code_of_v6_send_reset: [u64; 2],

    /// Where the code of `tcp_v6_do_rcv` begins and ends, as that of `tcp_disconnect`.
    pub code_of_v6_do_rcv: [[u64; 2]; 2],
    /// Where the code begins and ends to which functions return that a kretprobe or an fprobe watches: that of kretprobes and
    /// that of rethooks; both 0 where there is none.
    pub code_of_return_trampolines: [[u64; 2]; 2],
    /// The same of function_graph.
    pub code_of_return_to_handler: [u64; 2],
    /// Where the kernel's own code begins and ends (`_stext`, `_etext`); both 0 where that is not known.
    pub kernel_text: [u64; 2],

    /// Kernel address of the list of network namespaces, `net_namespace_list`.
    pub net_namespace_list: u64,

    /// Nanoseconds of allowance one event costs its account on one CPU; 0: events are not limited.
    pub event_cost: u64,
    /// How many nanoseconds of allowance an account that was silent has saved, less one event's.
    pub event_savings: u64,

    /// `sock.__sk_common.skc_net.net`
    pub sock_net: u32,
    /// `inet_sock.inet_sport`: the local port, network byte order; unlike `skc_num` it outlives the port's release.
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
    /// Bit number of SOCK_LINGER in it.
    pub flag_linger: u32,
    /// Bit number of SOCK_DEAD in it.
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
    /// From a `struct socket` to the number of its inode: `socket_alloc.vfs_inode` and `inode.i_ino`.
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
    /// 1 where that range is one `u32`, the highest port in its upper half (from 6.8); 0 where it is two `int`.
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

    /// Position of the `reason` argument of `tcp_v4_send_reset` and `tcp_v6_send_reset`; [`Self::ABSENT`] before 6.10.
    pub reset_reason_arg: u32,
    /// Position of the `reason` argument of `tcp_send_active_reset`; [`Self::ABSENT`] before 6.10.
    pub active_reset_reason_arg: u32,
    /// From where a trampoline has the first argument of `tcp_v4_syn_recv_sock` or `tcp_v6_syn_recv_sock` to where it has what
    /// was returned: 8 bytes for each parameter, of which there are 6, from 7.0 on 7.
    pub syn_recv_sock_returned: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_CLOSE, or [`Self::ABSENT`].
    pub reason_abort_on_close: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_LINGER, or [`Self::ABSENT`].
    pub reason_abort_on_linger: u32,
    /// SK_RST_REASON_TCP_ABORT_ON_MEMORY, or [`Self::ABSENT`].
    pub reason_abort_on_memory: u32,
    /// SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT, or [`Self::ABSENT`].
    pub reason_keepalive_timeout: u32,

    /// Bytes of unread ring buffer at which the reader is woken at once.
    pub wake_bytes: u32,
    /// Nanoseconds after a wake-up during which this CPU does not wake the reader again (below [`Self::wake_bytes`]).
    pub wake_interval: u32,
    /// 1 where the accept queue's length is noted with each connection that enters it.
    pub queue_depth: u32,
    /// 1 where accepted connections are counted and their wait is measured.
    pub accept_wait: u32,
    /// `tcp_sock.rcvq_space.time`
    pub tcp_rcvq_time: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `mptcp_sock.first`, or [`Self::ABSENT`].
    pub mptcp_first: u32,
    /// Slots of listeners: the first ones.
    pub listeners: u32,
    /// The first of these, which any listener may take; the others are for those that drop or reset.
    pub open_to_all: u32,
    /// Possible CPUs.
    pub cpus: u32,
    /// Rows of counts of each slot, a power of two. Where there are more CPUs, several share a row.
    pub rows: u32,
    /// [`Self::rows`] less one: these bits of a CPU's number are its row's.
    pub row_mask: u32,
    /// `sock.__sk_common.skc_num`
    pub sock_num: u32,
    /// `sock.__sk_common.skc_nulls_node.pprev`: NULL while the socket is in no hash table.
    pub sock_hashed: u32,
    /// `request_sock.rsk_timer`
    pub request_timer: u32,
    /// The BTF type of the function `bpf_rdonly_cast` (from 6.2), which takes any address for a pointer to a structure that may
    /// be read without a helper; 0 where there is none.
    pub rdonly_cast: u32,
    /// The BTF type of `struct linux_mib`, an array of 64-bit numbers: what addresses are taken for that are read so.
    pub window: u32,
    /// The BTF type of `struct tcp_sock`.
    pub tcp_sock: u32,
    /// States of CPUs that there is room for, less one: they are a power of two, so that this is a mask.
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
    /// SK_RST_REASON_MPTCP_RST_EUNSPEC, the first of those of Multipath TCP, or [`Self::ABSENT`].
    pub reason_mptcp_first: u32,
    /// SK_RST_REASON_MPTCP_RST_EMIDDLEBOX, the last of them, or [`Self::ABSENT`].
    pub reason_mptcp_last: u32,
    /// Fills the struct up to a multiple of eight bytes; 0.
    pub padding: u32,
}

impl KernelLayout {
    /// An argument or a constant this kernel does not have.
    pub const ABSENT: u32 = u32::MAX;

    /// What the compiled programs call in place of `bpf_rdonly_cast`, whose number is each kernel's own: no helper has this
    /// number. The loader puts the function there, or, where there is none, a zero.
    pub const CAST: u32 = 0x6e71_0001;

    /// What the compiled programs have in place of a `u32` of this structure, as a number that becomes a register's, or is a mask
    /// for it: this, and where in the structure it is. The loader puts the number into the instruction.
    pub const NUMBER: u32 = 0x6e72_0000;

    /// The same where a `u32` is how far from an address something is loaded: three instructions, which the loader makes one.
    pub const LOAD: u32 = 0x6e73_0000;
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (IntoBytes proves it), any bytes are a value (FromBytes proves it).
unsafe impl aya::Pod for KernelLayout {}
