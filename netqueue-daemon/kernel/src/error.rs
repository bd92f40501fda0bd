//! Why netqueue cannot attach, and what to do about it.

use std::io;

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};

use super::{hidden::Hidden, memory_limit};

/// Open files that attaching takes, and some clients: each program and each of its links is one.
pub const FILES_NEEDED: u64 = 1024;

/// Why the kernel side could not be brought up. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Neither root nor the capabilities.
    #[error(
        "not privileged to load and attach eBPF programs: missing {}; run as root, or grant CAP_BPF, CAP_PERFMON and \
         CAP_SYSLOG (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYSLOG)",
        .0.join(" and ")
    )]
    Privilege(Vec<&'static str>),
    /// No type information.
    #[error(
        "the kernel publishes no type information: {0}; netqueue reads every field offset from it. Use a kernel built \
         with CONFIG_DEBUG_INFO_BTF=y (every major distribution's since about 5.10), and make /sys visible where \
         netqueue runs in a container"
    )]
    NoBtf(String),
    /// No kprobes.
    #[error(
        "this kernel has no kprobes: {0}; use a kernel built with CONFIG_KPROBES=y, CONFIG_KPROBE_EVENTS=y and \
         CONFIG_PERF_EVENTS=y, and not locked down to confidentiality"
    )]
    NoKprobes(String),
    /// Root of a container without the host's user namespace.
    #[error(
        "not privileged to load and attach eBPF programs: the capabilities netqueue has are those of a user namespace, \
         which the kernel does not accept for that; start it outside (containers: not rootless, and without \
         user-namespace remapping)"
    )]
    UserNamespace,
    /// Locked down to confidentiality.
    #[error(
        "the kernel is locked down to confidentiality, which forbids programs to read kernel memory; boot with \
         lockdown=integrity or without lockdown (/sys/kernel/security/lockdown says which is in force)"
    )]
    Lockdown,
    /// Every file descriptor is in use.
    #[error(
        "netqueue may have no more than {0} open files (RLIMIT_NOFILE), too few to attach its programs; raise the \
         limit: `ulimit -n {needed}`, or LimitNOFILE={needed} in the systemd unit",
        needed = FILES_NEEDED
    )]
    OpenFiles(u64),
    /// The kernel lets nobody without more privileges open a perf event, by which kprobes are attached.
    #[error(
        "the kernel refuses to attach a kprobe: kernel.perf_event_paranoid is {0}, and from 3 on Debian's and Ubuntu's \
         kernels demand CAP_SYS_ADMIN for it, CAP_PERFMON not being enough; grant that, run `sysctl \
         kernel.perf_event_paranoid=2`, or use --attach auto, which takes kprobes only where it must"
    )]
    Paranoid(u8),
    /// Symbols cannot be read.
    #[error("kernel symbols cannot be read: {0}; make /proc/kallsyms visible where netqueue runs")]
    SymbolsUnreadable(String),
    /// Symbols are shown without addresses.
    #[error("the kernel hides the addresses of its symbols: {}", .0.sentence())]
    SymbolsHidden(Hidden),
    /// A symbol the mechanism rests on is not there.
    #[error(
        "the kernel has no symbol {0}, which leads to each CPU's counters; it needs CONFIG_SMP=y and CONFIG_KALLSYMS_ALL=y"
    )]
    SymbolMissing(&'static str),
    /// The kernel's types have changed.
    #[error(
        "the kernel's type information lacks {}; this kernel is not one netqueue knows (5.10 to 7.2): please report it \
         with the output of `uname -a`",
        .0.join(", ")
    )]
    FieldsMissing(Vec<&'static str>),
    /// A function that must be probed is not there.
    #[error(
        "the kernel has no function {function}: {cost}; it was renamed or inlined in this kernel: please report it with the output of `uname -a`"
    )]
    FunctionMissing {
        /// The function.
        function: &'static str,
        /// What its absence would cost.
        cost: &'static str,
    },
    /// By fentry alone, programs of process context would miss calls.
    #[error(
        "--attach=fentry is not exact here: this kernel preempts ({0}), and skips an fentry program that another task's call finds \
         running, so that resets and the beginnings and ends of listeners would be missed; use --attach=auto, which takes kprobes for these"
    )]
    Preempts(&'static str),
    /// The kernel refused the programs or maps.
    #[error("the kernel refused {what}: {reason}")]
    Refused {
        /// A program or map.
        what: String,
        /// The kernel's reason, with the end of the verifier's log where there is one.
        reason: String,
        /// Whether it has no memory for it.
        no_memory: bool,
    },
    /// There is no memory for them.
    #[error(
        "not enough memory for the kernel side: the kernel refused {what}; its counts need about {} MiB for {listeners} \
         listeners. {limit}. Raise the limit (systemd: MemoryMax=, Kubernetes: resources.limits.memory), or lower \
         --max-listeners, --ledger-capacity or --ring-size",
        bytes >> 20
    )]
    NoMemory {
        /// A program or map.
        what: String,
        /// What the counts take.
        bytes: u64,
        /// How many listeners have counts of their own.
        listeners: u32,
        /// The limits in force.
        limit: String,
    },
    /// A function has no trampoline, and nothing else was to be tried.
    #[error(
        "cannot attach to {function} by fentry: {reason}; use --attach auto, which takes kprobes where fentry does not work"
    )]
    NoFentry {
        /// The function.
        function: &'static str,
        /// The kernel's reason.
        reason: String,
    },
    /// A probe could not be attached.
    #[error(
        "cannot attach to {function}: {reason}; if it says 'busy' or 'invalid', look for the function in /sys/kernel/debug/kprobes/blacklist"
    )]
    Attach {
        /// The function.
        function: &'static str,
        /// The kernel's reason.
        reason: String,
    },
    /// A file of the kernel could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A chain of errors in one line, without the verifier's log, of which the last line is kept that says why. The log
/// itself shows addresses of the kernel.
pub(super) fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    without_log(&in_full(error))
}

/// A chain of errors with everything that belongs to it: for the debug level only.
pub(super) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn without_log(text: &str) -> String {
    let Some((reason, log)) = text.split_once(". Verifier output:") else { return text.to_owned() };
    match last_word(log) {
        Some(word) => format!("{reason}; the verifier says: {word} (--log.level=debug shows its log)"),
        None => reason.to_owned(),
    }
}

/// What the object itself lacks: a defect of netqueue.
pub(super) fn absent(name: &str) -> AttachError {
    AttachError::Refused {
        what: name.to_owned(),
        reason: "it is not in the object".to_owned(),
        no_memory: false,
    }
}

/// Whether the kernel says that it has no memory left for this process.
fn no_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error)
        // Before 5.11 a map beyond RLIMIT_MEMLOCK is not permitted.
        .any(|number| number == libc::ENOMEM || number == libc::EPERM && memory_limit::is_locked())
}

/// The line of a verifier's log that says why, unless it shows an address.
fn last_word(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "verification time ", "stack depth "];
    let told = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|word| line.starts_with(word));
    let last = log.lines().rev().map(str::trim).find(told)?;
    (!last.contains("ffff") && last.len() < 200).then_some(last)
}

/// The kernel's refusal of a program or map.
pub(super) fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> AttachError {
    let full = in_full(error);
    tracing::debug!(what, error = full, "refused");
    classify(error, &full).unwrap_or_else(|| AttachError::Refused {
        what: what.to_owned(),
        reason: without_log(&full),
        no_memory: no_memory(error),
    })
}

/// What is known to cause such an error, whatever was refused.
pub(super) fn known_cause(error: &(dyn std::error::Error + 'static)) -> Option<AttachError> {
    classify(error, &in_full(error))
}

fn classify(error: &(dyn std::error::Error + 'static), text: &str) -> Option<AttachError> {
    if errno(error) == Some(Errno::EMFILE) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        return Some(AttachError::OpenFiles(limit));
    }
    // Under lockdown bpf_tracing_func_proto() (kernel/trace/bpf_trace.c) has no such helpers.
    let refused = ["unknown func bpf_probe_read", "cannot use helper bpf_probe_read"];
    refused.iter().any(|refused| text.contains(refused)).then_some(AttachError::Lockdown)
}

/// The first code of the system in a chain of errors.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
