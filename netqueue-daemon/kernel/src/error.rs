//! Reasons why netqueue cannot attach, each with its cure.

use std::io;

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};

use super::{hidden::Hidden, memory_limit};

/// Open files that attaching and some clients need: each program and each of its links is one.
pub const FILES_NEEDED: u64 = 1024;

/// Reason why the kernel side could not be brought up. Each message also gives the cure.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process is neither root nor has the capabilities.
    #[error(
        "not privileged to load and attach eBPF programs: missing {}; run as root, or grant CAP_BPF, CAP_PERFMON and \
         CAP_SYSLOG (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYSLOG)",
        .0.join(" and ")
    )]
    Privilege(Vec<&'static str>),
    /// The kernel publishes no type information.
    #[error(
        "the kernel publishes no type information: {0}; netqueue reads every field offset from it. Use a kernel built \
         with CONFIG_DEBUG_INFO_BTF=y (every major distribution's since about 5.10), and make /sys visible where \
         netqueue runs in a container"
    )]
    NoBtf(String),
    /// The kernel has no kprobes.
    #[error(
        "this kernel has no kprobes: {0}; use a kernel built with CONFIG_KPROBES=y, CONFIG_KPROBE_EVENTS=y and \
         CONFIG_PERF_EVENTS=y, and not locked down to confidentiality"
    )]
    NoKprobes(String),
    /// The process is root only in a user namespace, as in a rootless container.
    #[error(
        "not privileged to load and attach eBPF programs: the capabilities netqueue has are those of a user namespace, \
         which the kernel does not accept for that; start it outside (containers: not rootless, and without \
         user-namespace remapping)"
    )]
    UserNamespace,
    /// The kernel is locked down to confidentiality.
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
    /// kernel.perf_event_paranoid forbids the perf event by which a kprobe is attached.
    #[error(
        "the kernel refuses to attach a kprobe: kernel.perf_event_paranoid is {0}, and from 3 on Debian's and Ubuntu's \
         kernels demand CAP_SYS_ADMIN for it, CAP_PERFMON not being enough; grant that, run `sysctl \
         kernel.perf_event_paranoid=2`, or use --attach auto, which takes kprobes only where it must"
    )]
    Paranoid(u8),
    /// The kernel's symbols cannot be read.
    #[error("kernel symbols cannot be read: {0}; make /proc/kallsyms visible where netqueue runs")]
    SymbolsUnreadable(String),
    /// The kernel lists its symbols without addresses.
    #[error("the kernel hides the addresses of its symbols: {}", .0.sentence())]
    SymbolsHidden(Hidden),
    /// The kernel lacks a symbol that attribution depends on.
    #[error(
        "the kernel has no symbol {0}, which leads to each CPU's counters; it needs CONFIG_SMP=y and CONFIG_KALLSYMS_ALL=y"
    )]
    SymbolMissing(&'static str),
    /// The kernel's types lack fields that netqueue reads.
    #[error(
        "the kernel's type information lacks {}; this kernel is not one netqueue knows (5.10 to 7.2): please report it \
         with the output of `uname -a`",
        .0.join(", ")
    )]
    FieldsMissing(Vec<&'static str>),
    /// The kernel lacks a function that must be probed.
    #[error(
        "the kernel has no function {function}: {cost}; it was renamed or inlined in this kernel: please report it with the output of `uname -a`"
    )]
    FunctionMissing {
        /// The function.
        function: &'static str,
        /// Loss that its absence would cause.
        cost: &'static str,
    },
    /// The kernel preempts tasks, so that fentry alone would miss calls in process context.
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
        /// True if the kernel has no memory for it.
        no_memory: bool,
    },
    /// The kernel has no memory for the maps or programs.
    #[error(
        "not enough memory for the kernel side: the kernel refused {what}; its counts need about {} MiB for {listeners} \
         listeners. {limit}. Raise the limit (systemd: MemoryMax=, Kubernetes: resources.limits.memory), or lower \
         --max-listeners, --dropped-ack-cache-capacity or --ring-size",
        bytes >> 20
    )]
    NoMemory {
        /// A program or map.
        what: String,
        /// Bytes that the counts need.
        bytes: u64,
        /// Number of listeners with their own counts.
        listeners: u32,
        /// The limits in force.
        limit: String,
    },
    /// A function has no trampoline, and fentry alone was requested.
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
        /// The system's error.
        source: io::Error,
    },
}

/// Formats a chain of errors in one line. Of a verifier's log it keeps only the line with the reason.
///
/// The log itself would publish addresses of the kernel.
pub(super) fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    without_log(&in_full(error))
}

/// Formats a chain of errors with everything in it: for the debug level only.
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

/// Error for a map or program that the object lacks: a defect of netqueue.
pub(super) fn absent(name: &str) -> AttachError {
    AttachError::Refused {
        what: name.to_owned(),
        reason: "it is not in the object".to_owned(),
        no_memory: false,
    }
}

/// Returns whether the kernel refused for lack of memory.
fn no_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error)
        // Before 5.11 the kernel answers EPERM to a map beyond RLIMIT_MEMLOCK.
        .any(|number| number == libc::ENOMEM || number == libc::EPERM && memory_limit::is_locked())
}

/// Returns the line of a verifier's log that gives the reason, unless it contains an address.
fn last_word(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "verification time ", "stack depth "];
    let told = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|word| line.starts_with(word));
    let last = log.lines().rev().map(str::trim).find(told)?;
    (!last.contains("ffff") && last.len() < 200).then_some(last)
}

/// Error for a program or map that the kernel refused.
pub(super) fn refused(what: &str, error: &(dyn std::error::Error + 'static)) -> AttachError {
    let full = in_full(error);
    tracing::debug!(what, error = full, "refused");
    classify(error, &full).unwrap_or_else(|| AttachError::Refused {
        what: what.to_owned(),
        reason: without_log(&full),
        no_memory: no_memory(error),
    })
}

/// Returns the known cause of such an error, regardless of what the kernel refused.
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

/// Returns the first errno in a chain of errors.
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
