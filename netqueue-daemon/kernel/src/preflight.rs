//! Requirements on the machine, and the facts about it that loading needs.
//!
//! Attaching stops at the first failure; `netqueue doctor` makes each check by itself.

use std::{fs, path::Path};

use netqueue_common::KernelLayout;
use netqueue_domain::AttachWay;

use super::{
    btf::Btf,
    error::AttachError,
    hidden::Hidden,
    kprobe_misses::Field,
    layout::{self, Addresses, ResetReasons},
    lockdown,
    probes::{self, PROBES},
    symbols::{self, FILE as SYMBOLS_FILE, Symbols},
};

pub(super) const BTF_FILE: &str = "/sys/kernel/btf/vmlinux";
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";
const STATUS_FILE: &str = "/proc/self/status";
const PER_CPU_OFFSET: &str = "__per_cpu_offset";
/// Symbol of the list of network namespaces.
const NAMESPACES: &str = "net_namespace_list";
/// Variables by which the data of a packet are found that lie in pages; x86 only.
const VMEMMAP_BASE: &str = "vmemmap_base";
const PAGE_OFFSET_BASE: &str = "page_offset_base";
/// Callers of tcp_send_active_reset that reveal a reset's cause; each with its cold part.
const DISCONNECT: Caller = ["tcp_disconnect", "tcp_disconnect.cold"];
const CLOSE: Caller = ["__tcp_close", "__tcp_close.cold"];
const ABORT: Caller = ["tcp_abort", "tcp_abort.cold"];
const KEEPALIVE: Caller = ["tcp_keepalive_timer", "tcp_keepalive_timer.cold"];
/// Callers that send a reset for a handshake; tcp_check_req also counts EmbryonicRsts.
const CHECK_REQ: Caller = ["tcp_check_req", "tcp_check_req.cold"];
const SUBFLOW_SYN_RECV_SOCK: Caller = ["subflow_syn_recv_sock", "subflow_syn_recv_sock.cold"];

/// Caller of tcp_v6_send_reset that may lie outside the kernel's own text: IPv6 may be a module.
const V6_DO_RCV: Caller = ["tcp_v6_do_rcv", "tcp_v6_do_rcv.cold"];
/// Code that a kretprobe makes functions return to: before 5.15, and since.
const KRETPROBE: [&str; 2] = ["kretprobe_trampoline", "__kretprobe_trampoline"];
/// Code that other tracers make functions return to: rethook (kretprobes and fprobes from 6.1 on).
const RETHOOK: &str = "arch_rethook_trampoline";
/// Code that function_graph makes functions return to.
const RETURN_TO_HANDLER: &str = "return_to_handler";
/// Start and end of the kernel's own code.
const TEXT: [&str; 2] = ["_stext", "_etext"];

type Caller = [&'static str; 2];

/// Facts about the kernel that loading needs.
pub(super) struct Prepared {
    pub(super) layout: KernelLayout,
    pub(super) reset_reasons: ResetReasons,
    pub(super) symbols: Symbols,
    /// Field of the runs skipped by a kprobe; `None` before 6.7, when the kernel counts none.
    pub(super) misses: Option<Field>,
}

impl Prepared {
    /// Checks the machine and collects the facts; stops at the first failure.
    pub(super) fn new(way: AttachWay) -> Result<Self, AttachError> {
        privileges()?;
        lockdown::check()?;
        if way == AttachWay::Kprobe {
            kprobes()?;
        }
        let (btf, symbols) = (btf()?, symbols()?);
        probes::require(&symbols)?;
        let layout = layout(&btf, &symbols)?;
        let (reset_reasons, misses) = (layout::reset_reasons(&btf), Field::of(&btf));
        Ok(Self { layout, reset_reasons, symbols, misses })
    }
}

pub(super) fn privileges() -> Result<String, AttachError> {
    const CAP_SYS_ADMIN: u32 = 21;
    const NEEDED: [(u32, &str); 2] = [(38, "CAP_PERFMON"), (39, "CAP_BPF")];
    if in_user_namespace() {
        return Err(AttachError::UserNamespace);
    }
    let status = read(STATUS_FILE)?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective >> capability & 1 != 0;
    if has(CAP_SYS_ADMIN) {
        return Ok("CAP_SYS_ADMIN".to_owned());
    }
    let missing: Vec<_> =
        NEEDED.into_iter().filter(|(number, _)| !has(*number)).map(|(_, name)| name).collect();
    if missing.is_empty() {
        Ok("CAP_BPF and CAP_PERFMON".to_owned())
    } else {
        Err(AttachError::Privilege(missing))
    }
}

/// Returns whether the process runs in a user namespace other than the initial one.
///
/// bpf() does not accept the capabilities of another (`PROC_USER_INIT_INO` in include/linux/proc_ns.h).
fn in_user_namespace() -> bool {
    const INITIAL: &str = "user:[4026531837]";
    fs::read_link("/proc/self/ns/user").is_ok_and(|link| link != Path::new(INITIAL))
}

pub(super) fn kprobes() -> Result<String, AttachError> {
    if Path::new(KPROBE_PMU).exists() {
        return Ok("kprobe event source present".to_owned());
    }
    let traced = ["/sys/kernel/tracing/kprobe_events", "/sys/kernel/debug/tracing/kprobe_events"];
    match traced.into_iter().find(|path| Path::new(path).exists()) {
        Some(path) => Ok(format!("{path} present")),
        None => Err(AttachError::NoKprobes(format!("{KPROBE_PMU} does not exist"))),
    }
}

pub(super) fn btf() -> Result<Btf, AttachError> {
    let data =
        fs::read(BTF_FILE).map_err(|error| AttachError::NoBtf(format!("cannot read {BTF_FILE}: {error}")))?;
    Btf::parse(data).map_err(|error| AttachError::NoBtf(format!("{BTF_FILE} is {error}")))
}

pub(super) fn symbols() -> Result<Symbols, AttachError> {
    let unreadable = |reason: String| AttachError::SymbolsUnreadable(reason);
    let file = symbols::open().map_err(|error| unreadable(format!("cannot read {SYMBOLS_FILE}: {error}")))?;
    let wanted: Vec<_> = PROBES
        .iter()
        .map(|probe| probe.function)
        .chain([PER_CPU_OFFSET, NAMESPACES, VMEMMAP_BASE, PAGE_OFFSET_BASE])
        .chain([RETHOOK, RETURN_TO_HANDLER])
        .chain([DISCONNECT, CLOSE, ABORT, KEEPALIVE, CHECK_REQ, SUBFLOW_SYN_RECV_SOCK].into_iter().flatten())
        .chain([V6_DO_RCV, KRETPROBE, TEXT].into_iter().flatten())
        .collect();
    Symbols::read(file, &wanted).map_err(|error| unreadable(format!("cannot read {SYMBOLS_FILE}: {error}")))
}

pub(super) fn layout(btf: &Btf, symbols: &Symbols) -> Result<KernelLayout, AttachError> {
    let per_cpu_offset = match symbols.address(PER_CPU_OFFSET) {
        Some(0) => return Err(AttachError::SymbolsHidden(Hidden::read())),
        Some(address) => address,
        None => return Err(AttachError::SymbolMissing(PER_CPU_OFFSET)),
    };
    if symbols.code(CHECK_REQ[0]) == [0; 2] {
        return Err(AttachError::SymbolMissing(CHECK_REQ[0]));
    }
    let code = |caller: Caller| caller.map(|name| symbols.code(name));
    let addresses = Addresses {
        per_cpu_offset,
        namespaces: symbols.address(NAMESPACES).unwrap_or(0),
        vmemmap_base: symbols.address(VMEMMAP_BASE).unwrap_or(0),
        page_offset_base: symbols.address(PAGE_OFFSET_BASE).unwrap_or(0),
        disconnect: code(DISCONNECT),
        close: code(CLOSE),
        abort: code(ABORT),
        keepalive: code(KEEPALIVE),
        check_req: code(CHECK_REQ),
        subflow_syn_recv_sock: code(SUBFLOW_SYN_RECV_SOCK),
        active_reset: symbols.code("tcp_send_active_reset"),
        queue_drop: symbols.code("inet_csk_reqsk_queue_drop"),
        v4_send_reset: symbols.code("tcp_v4_send_reset"),
        v6_send_reset: symbols.code("tcp_v6_send_reset"),
        v6_do_rcv: code(V6_DO_RCV),
        return_trampolines: [
            KRETPROBE.map(|name| symbols.code(name)).into_iter().max().unwrap_or_default(),
            symbols.code(RETHOOK),
        ],
        return_to_handler: symbols.code(RETURN_TO_HANDLER),
        text: TEXT.map(|name| symbols.address(name).unwrap_or(0)),
    };
    layout::read(btf, addresses).map_err(AttachError::FieldsMissing)
}

fn read(path: &'static str) -> Result<String, AttachError> {
    fs::read_to_string(path).map_err(|source| AttachError::Read { path, source })
}
