//! Why netqueue cannot attach, and what to do about it.

use std::io;

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
    /// Symbols cannot be read, or are hidden.
    #[error(
        "kernel symbols are hidden: {0}; give CAP_SYSLOG, or set `sysctl kernel.kptr_restrict=0` (1 suffices with \
         CAP_SYSLOG)"
    )]
    SymbolsHidden(String),
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
    /// The kernel refused the programs or maps.
    #[error("the kernel refused {what}: {reason}")]
    Refused {
        /// A program or map.
        what: String,
        /// The kernel's reason, with the end of the verifier's log where there is one.
        reason: String,
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

/// A chain of errors in one line, and of a very long one (a verifier log) only the end.
pub(super) fn in_one_line(error: &dyn std::error::Error) -> String {
    const LONGEST: usize = 2000;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    match text.char_indices().rev().nth(LONGEST) {
        Some((start, _)) => format!("[..] {}", &text[start..]),
        None => text,
    }
}

/// The kernel's refusal of a program or map.
pub(super) fn refused(what: &str, error: &dyn std::error::Error) -> AttachError {
    AttachError::Refused { what: what.to_owned(), reason: in_one_line(error) }
}
