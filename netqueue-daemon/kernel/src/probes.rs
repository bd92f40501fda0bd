//! Table of every probe, and of the cost of its absence.

use netqueue_domain::{AttachMode, ProbeStatus};

use super::{error::AttachError, preemption::Preemption, symbols::Symbols};

/// End of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Entry,
    Return,
}

/// Consequence of a function's absence from the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// netqueue refuses to run.
    Required,
    /// Some events stay unattributed.
    Optional,
    /// Nothing is lost: the kernel is built without the feature to which the function belongs.
    Feature,
}

/// One program of the object and its function.
pub(super) struct Probe {
    /// Name of the program; the object adds the prefix `nq_`, so that `bpftool prog` shows its owner.
    pub(super) program: &'static str,
    /// Kernel function to which it is attached.
    pub(super) function: &'static str,
    pub(super) at: At,
    pub(super) need: Need,
    /// Cost of its absence, in the operator's words.
    pub(super) cost: &'static str,
    /// The only way of attaching it, where its function has no such program for the other.
    pub(super) only: Option<AttachMode>,
}

const fn probe(program: &'static str, function: &'static str, at: At, cost: &'static str) -> Probe {
    Probe { program, function, at, need: Need::Required, cost, only: None }
}

const fn optional(program: &'static str, function: &'static str, at: At, cost: &'static str) -> Probe {
    Probe { program, function, at, need: Need::Optional, cost, only: None }
}

const fn feature(program: &'static str, function: &'static str, at: At, cost: &'static str) -> Probe {
    Probe { program, function, at, need: Need::Feature, cost, only: None }
}

/// Entry of a function whose fexit program needs no entry program: it still has the arguments.
const fn noted(function: &'static str, need: Need, cost: &'static str) -> Probe {
    Probe { only: Some(AttachMode::Kprobe), need, ..probe(function, function, At::Entry, cost) }
}

/// Return of a function whose entry alone suffices: fexit catches the calls that the kprobe missed.
const fn caught(program: &'static str, function: &'static str, cost: &'static str) -> Probe {
    Probe { only: Some(AttachMode::Fentry), ..optional(program, function, At::Return, cost) }
}

/// One more fentry program at a function's entry, for kernels that preempt tasks.
const fn spare(program: &'static str, function: &'static str, cost: &'static str) -> Probe {
    Probe { only: Some(AttachMode::Fentry), ..optional(program, function, At::Entry, cost) }
}

/// Entry of a module's function: a trampoline needs its types, which are not in the kernel's own BTF.
const fn noted_as(program: &'static str, function: &'static str, cost: &'static str) -> Probe {
    Probe { program, ..noted(function, Need::Feature, cost) }
}

const SYN: &str = "drops at the SYN, and cookies sent, could not be attributed";
const SYN_V6: &str = "drops at the SYN of IPv6 handshakes, and their cookies, are not attributed";
const SYN_MPTCP: &str =
    "drops at the SYN of Multipath TCP listeners, and cookies they send, are not attributed";
const COOKIE_SENT: &str = "cookies sent are not attributed";
const HELPER: &str = "what the BPF SYN-cookie helper counts in a listener's name is not attributed";
const ACK_SMC: &str = "drops at the final ACK that SMC decides on are not attributed";
const ACK: &str = "drops at the final ACK could not be attributed";
const REQUEST: &str = "EmbryonicRsts could not be attributed";
const RESET: &str = "resets in answer to IPv4 packets could not be attributed";
const ACK_V6: &str = "drops at the final ACK of IPv6 handshakes are not attributed";
const RESET_V6: &str = "resets in answer to IPv6 packets are not attributed";
const QUARTER: &str = "drops by the last-quarter rule of tcp_max_syn_backlog are shown as `other`";
const COOKIE: &str = "cookies received and failed are not attributed";
const ICMP: &str = "drops of pending requests by ICMP errors are not attributed";
const LIFE: &str = "a listener opened again on its port may be taken for its predecessor";
const STOP: &str = "a closed listener is noticed some seconds late";
const CHILD: &str = "resets of a closing listener's queue are not charged to it";
const AGAIN: &str = "SYN-ACKs sent again are not counted";
const TIMER: &str = "handshakes a listener gives up after it dropped their final ACK are shown as unresolved";
const WAIT: &str = "accepted connections are not counted and their wait is not measured";

/// Program and function that observe accept().
pub(super) const ACCEPT: &str = "security_sock_graft";

const BEGUN: &str = "network namespaces made later, under an inode number never used before, are compared from their first look on only";
const FREED: &str = "network namespaces that had the same inode number one after the other are not told apart, and only the host's is compared";
const ENDED: &str = "what a network namespace counts between the last look at it and its end is not compared";
const ACTIVE: &str = "resets this host sends of its own accord are not attributed";

/// Functions that run with bottom halves on, or may: a softirq can interrupt their programs.
const INTERRUPTIBLE: [&str; 8] = [
    NUMBER_FREED,
    "tcp_sk_init",
    "ipv4_mib_exit_net",
    "inet_csk_listen_start",
    "inet_csk_listen_stop",
    ACTIVE_RESETS,
    IPV4_RESETS,
    IPV6_RESETS,
];

/// Returns whether a softirq can interrupt this function's programs.
pub(super) fn may_be_interrupted(function: &str) -> bool {
    INTERRUPTIBLE.contains(&function)
}

/// Functions of process context that have one program, at their entry.
///
/// An fentry program there could be preempted, and is skipped where another task calls the function
/// meanwhile; a kprobe program is not preempted.
const PREEMPTIBLE: [&str; 5] =
    [NUMBER_FREED, "tcp_sk_init", "ipv4_mib_exit_net", "inet_csk_listen_start", "inet_csk_listen_stop"];

/// Resets sent unprompted, mostly from process context: either end of the function can charge one.
const ACTIVE_RESETS: &str = "tcp_send_active_reset";

/// Resets in answer to IPv4 packets, from process context as well as from softirqs.
///
/// Either end of the function can charge all but a few.
const IPV4_RESETS: &str = "tcp_v4_send_reset";

/// Resets in answer to IPv6 packets, of which mostly the return alone is sure that one was sent.
const IPV6_RESETS: &str = "tcp_v6_send_reset";

/// Way in which a function's programs are attached where the operator leaves it to netqueue.
///
/// The kernel skips a kprobe program while a softirq interrupts another one on its CPU, or while a task is
/// preempted there in a map operation, which can last for milliseconds. It skips a fentry or fexit program
/// while a task is preempted, or interrupted, within that program. A call is lost if all its programs are
/// skipped, so functions that tasks run have several. Their number follows from how the skips come together: a
/// program does more, and is preempted sooner, where another was skipped before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// By fentry and fexit.
    Traced,
    /// By kprobe and kretprobe.
    Probed,
    /// The entry by kprobe, the return by fexit.
    Mixed,
    /// The entry by kprobe and by fentry, spare programs included, the return by fexit.
    EntryTwice,
    /// Both ends both ways, spare programs included.
    BothTwice,
}

/// Returns the plan for a function.
///
/// A kprobe is right for a function of process context as long as those that softirqs run are attached by
/// fentry. Where softirqs are threads, none of them interrupts a kprobe program.
pub(super) fn plan(function: &str, preemption: Preemption) -> Plan {
    match (function, preemption) {
        (ACTIVE_RESETS, Preemption::No) => Plan::Mixed,
        (ACTIVE_RESETS, Preemption::OfTasks | Preemption::Realtime) | (IPV4_RESETS, Preemption::OfTasks) => {
            Plan::EntryTwice
        }
        (IPV4_RESETS, Preemption::Realtime) | (IPV6_RESETS, Preemption::OfTasks | Preemption::Realtime) => {
            Plan::BothTwice
        }
        _ if PREEMPTIBLE.contains(&function) => Plan::Probed,
        _ => Plan::Traced,
    }
}

/// Families of functions, one of which may call another for the same packet.
const TWINS: [&[&str]; 2] = [
    &["tcp_v4_conn_request", "tcp_v6_conn_request", "subflow_v4_conn_request", "subflow_v6_conn_request"],
    &["tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock"],
];

/// Returns whether two probes must be attached the same way.
///
/// Both ends of a function must, since each way identifies a call by a different address; so must the
/// functions of one family, since the inner call for a packet replaces the outer.
pub(super) fn are_twins(one: &Probe, other: &Probe) -> bool {
    let together = |family: &&[&str]| family.contains(&one.function) && family.contains(&other.function);
    one.function == other.function || TWINS.iter().any(together)
}

/// Program without which namespaces that have one inode number in turn are not distinguished.
pub(super) const NUMBER_FREED: &str = "proc_free_inum";

/// Every probe, in the order in which they are attached.
///
/// Programs that distinguish namespaces come first: nothing may be charged before. A return comes before its
/// entry: a call caught in between is then counted as missed instead of staying open.
pub(super) const PROBES: &[Probe] = &[
    optional(NUMBER_FREED, "proc_free_inum", At::Entry, FREED),
    optional("tcp_sk_init", "tcp_sk_init", At::Entry, BEGUN),
    optional("ipv4_mib_exit_net", "ipv4_mib_exit_net", At::Entry, ENDED),
    // Programs that mark the call around them come before those that read the mark.
    feature("cookie_v4_init_sequence", "cookie_v4_init_sequence", At::Entry, COOKIE_SENT),
    feature("cookie_v6_init_sequence", "cookie_v6_init_sequence", At::Entry, COOKIE_SENT),
    optional("tcp_peer_is_proven_return", "tcp_peer_is_proven", At::Return, QUARTER),
    feature("tcp_get_syncookie_mss_return", "tcp_get_syncookie_mss", At::Return, HELPER),
    noted("tcp_get_syncookie_mss", Need::Feature, HELPER),
    probe("tcp_v4_conn_request_return", "tcp_v4_conn_request", At::Return, SYN),
    noted("tcp_v4_conn_request", Need::Required, SYN),
    optional("tcp_v6_conn_request_return", "tcp_v6_conn_request", At::Return, SYN_V6),
    noted("tcp_v6_conn_request", Need::Optional, SYN_V6),
    feature("subflow_v4_conn_request_return", "subflow_v4_conn_request", At::Return, SYN_MPTCP),
    noted("subflow_v4_conn_request", Need::Feature, SYN_MPTCP),
    feature("subflow_v6_conn_request_return", "subflow_v6_conn_request", At::Return, SYN_MPTCP),
    noted("subflow_v6_conn_request", Need::Feature, SYN_MPTCP),
    probe("tcp_v4_syn_recv_sock_return", "tcp_v4_syn_recv_sock", At::Return, ACK),
    noted("tcp_v4_syn_recv_sock", Need::Required, ACK),
    optional("tcp_v6_syn_recv_sock_return", "tcp_v6_syn_recv_sock", At::Return, ACK_V6),
    noted("tcp_v6_syn_recv_sock", Need::Optional, ACK_V6),
    Probe { at: At::Return, ..noted_as("smc_tcp_syn_recv_sock_return", "smc_tcp_syn_recv_sock", ACK_SMC) },
    noted_as("smc_tcp_syn_recv_sock", "smc_tcp_syn_recv_sock", ACK_SMC),
    probe("inet_csk_reqsk_queue_drop_return", "inet_csk_reqsk_queue_drop", At::Return, REQUEST),
    noted("inet_csk_reqsk_queue_drop", Need::Required, REQUEST),
    probe("tcp_v4_send_reset_return", "tcp_v4_send_reset", At::Return, RESET),
    probe("tcp_v4_send_reset", "tcp_v4_send_reset", At::Entry, RESET),
    spare("tcp_v4_send_reset_2", "tcp_v4_send_reset", RESET),
    spare("tcp_v4_send_reset_3", "tcp_v4_send_reset", RESET),
    optional("tcp_v6_send_reset_return", "tcp_v6_send_reset", At::Return, RESET_V6),
    optional("tcp_v6_send_reset", "tcp_v6_send_reset", At::Entry, RESET_V6),
    spare("tcp_v6_send_reset_2", "tcp_v6_send_reset", RESET_V6),
    spare("tcp_v6_send_reset_3", "tcp_v6_send_reset", RESET_V6),
    optional("cookie_v4_check_return", "cookie_v4_check", At::Return, COOKIE),
    optional("cookie_v4_check", "cookie_v4_check", At::Entry, COOKIE),
    optional("cookie_v6_check_return", "cookie_v6_check", At::Return, COOKIE),
    optional("cookie_v6_check", "cookie_v6_check", At::Entry, COOKIE),
    optional("tcp_req_err_return", "tcp_req_err", At::Return, ICMP),
    optional("tcp_req_err", "tcp_req_err", At::Entry, ICMP),
    optional("inet_csk_listen_start", "inet_csk_listen_start", At::Entry, LIFE),
    optional("inet_csk_listen_stop", "inet_csk_listen_stop", At::Entry, STOP),
    optional("inet_child_forget_return", "inet_child_forget", At::Return, CHILD),
    optional("inet_child_forget", "inet_child_forget", At::Entry, CHILD),
    optional("tcp_rtx_synack_return", "tcp_rtx_synack", At::Return, AGAIN),
    optional("tcp_rtx_synack", "tcp_rtx_synack", At::Entry, AGAIN),
    optional("reqsk_timer_handler_return", "reqsk_timer_handler", At::Return, TIMER),
    optional("reqsk_timer_handler", "reqsk_timer_handler", At::Entry, TIMER),
    optional(ACCEPT, ACCEPT, At::Entry, WAIT),
    caught("tcp_send_active_reset_return", ACTIVE_RESETS, ACTIVE),
    optional(ACTIVE_RESETS, ACTIVE_RESETS, At::Entry, ACTIVE),
    spare("tcp_send_active_reset_2", ACTIVE_RESETS, ACTIVE),
    spare("tcp_send_active_reset_3", ACTIVE_RESETS, ACTIVE),
];

impl Probe {
    /// Returns whether this way of attaching has such a program.
    pub(super) fn goes_by(&self, mode: AttachMode) -> bool {
        self.only.is_none_or(|only| only == mode)
    }

    /// Returns whether a kernel with this preemption needs the program; spare ones need preempted tasks.
    pub(super) fn is_for(&self, preemption: Preemption) -> bool {
        let is_spare = self.at == At::Entry && self.only == Some(AttachMode::Fentry);
        !is_spare || preemption != Preemption::No
    }

    /// Returns whether there is a function to attach to, or its absence must be reported.
    pub(super) fn concerns(&self, symbols: &Symbols) -> bool {
        self.need != Need::Feature || symbols.contains(self.function)
    }

    /// Builds the probe's status for reports.
    pub(super) fn status(&self, mode: AttachMode, attached: Result<(), String>) -> ProbeStatus {
        ProbeStatus {
            program: self.program.into(),
            function: self.function.into(),
            at: match self.at {
                At::Entry => "entry",
                At::Return => "return",
            }
            .into(),
            mode,
            required: self.need == Need::Required,
            attached: attached.is_ok(),
            detail: attached.err().map(|reason| format!("{reason}; {}", self.cost)),
            missed: None,
        }
    }
}

/// Checks that every required function exists; the error names the first that does not.
pub(super) fn require(symbols: &Symbols) -> Result<(), AttachError> {
    match PROBES.iter().find(|probe| probe.need == Need::Required && !symbols.contains(probe.function)) {
        Some(probe) => Err(AttachError::FunctionMissing { function: probe.function, cost: probe.cost }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The symbols of a kernel that lacks one function.
    fn kernel_without(absent: &str) -> Symbols {
        let functions: Vec<_> = PROBES.iter().map(|probe| probe.function).collect();
        let lines = functions
            .iter()
            .filter(|name| **name != absent)
            .map(|name| format!("ffffffff81000000 T {name}\n"));
        Symbols::read(lines.collect::<String>().as_bytes(), &functions).expect("it is in memory")
    }

    #[test]
    fn a_required_function_that_is_missing_is_named_with_what_that_costs() {
        let error =
            require(&kernel_without("inet_csk_reqsk_queue_drop")).expect_err("it is required").to_string();
        assert!(error.contains("inet_csk_reqsk_queue_drop") && error.contains("EmbryonicRsts"), "{error}");
    }

    #[test]
    fn a_kernel_without_ipv6_will_do() {
        assert!(require(&kernel_without("tcp_v6_send_reset")).is_ok());
        let probe =
            PROBES.iter().find(|probe| probe.function == "tcp_v6_send_reset").expect("it is in the table");
        let status =
            probe.status(AttachMode::Kprobe, Err("the kernel has no function tcp_v6_send_reset".into()));
        assert!(status.detail.is_some_and(|detail| detail.ends_with("IPv6 packets are not attributed")));
    }

    #[test]
    fn a_kernel_without_multipath_tcp_lacks_nothing() {
        let named = |probe: &&Probe| probe.function == "subflow_v4_conn_request";
        let probe = PROBES.iter().find(named).expect("it is in the table");
        assert!(probe.concerns(&kernel_without("tcp_v6_send_reset")));
        assert!(!probe.concerns(&kernel_without("subflow_v4_conn_request")));
    }

    #[test]
    fn whatever_a_softirq_may_interrupt_is_in_the_table() {
        let planned = [ACTIVE_RESETS, IPV4_RESETS, IPV6_RESETS];
        for function in INTERRUPTIBLE.into_iter().chain(PREEMPTIBLE).chain(planned) {
            assert!(PROBES.iter().any(|probe| probe.function == function), "{function}");
        }
    }

    #[test]
    fn the_programs_of_a_function_stand_together() {
        let groups = PROBES.chunk_by(|one, next| one.function == next.function);
        let mut functions: Vec<_> = groups.map(|group| group[0].function).collect();
        functions.sort_unstable();
        assert!(functions.is_sorted_by(|one, next| one < next), "a function is attached one way");
    }

    #[test]
    fn ipv4_and_its_twin_go_the_same_way() {
        let groups: Vec<_> = PROBES.chunk_by(are_twins).collect();
        for family in TWINS {
            let has = |group: &&&[Probe]| group.iter().any(|probe| family.contains(&probe.function));
            let [group] = groups.iter().filter(has).collect::<Vec<_>>()[..] else {
                panic!("{family:?} stand together");
            };
            assert!(group.iter().all(|probe| family.contains(&probe.function)), "{family:?}");
        }
    }

    #[test]
    fn what_leaves_a_mark_is_attached_before_what_looks_for_it() {
        let first = |function: &str| PROBES.iter().position(|probe| probe.function == function);
        for mark in ["cookie_v4_init_sequence", "cookie_v6_init_sequence", "tcp_peer_is_proven"] {
            assert!(first(mark) < first("tcp_v4_conn_request"), "{mark}");
        }
    }

    #[test]
    fn functions_that_preempted_tasks_run_have_spare_programs_and_no_others() {
        for function in PROBES.iter().map(|probe| probe.function) {
            let entries = |preemption| {
                let programs =
                    PROBES.iter().filter(|probe| probe.function == function && probe.at == At::Entry);
                programs.filter(|probe| probe.goes_by(AttachMode::Fentry) && probe.is_for(preemption)).count()
            };
            let several = matches!(plan(function, Preemption::OfTasks), Plan::EntryTwice | Plan::BothTwice);
            assert_eq!(entries(Preemption::OfTasks) > 1, several, "{function}");
            assert!(entries(Preemption::No) <= 1, "{function}");
        }
    }

    #[test]
    fn every_return_is_attached_before_its_entry() {
        for (index, entry) in PROBES.iter().enumerate().filter(|(_, probe)| probe.at == At::Entry) {
            let returning =
                PROBES.iter().position(|probe| probe.function == entry.function && probe.at == At::Return);
            assert!(returning.is_none_or(|returning| returning < index), "{}", entry.program);
        }
    }
}
