//! A listening socket: what it is, whose it is, and what bounds its queue; and, of all that, what is not known and why.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Endpoint, IdleLimit, Limit, Netns, Owner, QueueState, Timestamp, owner};

/// A value, or why there is none.
pub type Known<T> = Result<T, Unknown>;

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unknown {
    /// Nobody has looked yet.
    NotYet,
    /// The system does not let netqueue look without these capabilities.
    #[serde(deserialize_with = "capabilities")]
    Privilege(&'static [Capability]),
    /// The kernel's sock_diag cannot be asked: neither module nor built in, or its namespace cannot be entered.
    NoSockDiag,
    /// It happened before netqueue attached.
    BeforeAttach,
    /// It happened while netqueue was attached, and was missed.
    Missed,
    /// Only that it was at least as much as is in force: somaxconn cut it down.
    CutDown,
    /// This kernel has no such thing.
    NotInKernel,
    /// No process holds the socket: the kernel itself opened it, or its holder has gone.
    Nobody,
    /// It is switched off.
    SwitchedOff,
    /// It is not readable for another reason.
    Unreadable,
}

/// A privilege of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// CAP_SYS_PTRACE: to look at other users' processes.
    SysPtrace,
    /// CAP_DAC_READ_SEARCH: to read their directories.
    DacReadSearch,
    /// CAP_SYS_ADMIN: to enter namespaces.
    SysAdmin,
}

impl Capability {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        }
    }
}

impl Unknown {
    /// One word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not_yet",
            Self::Privilege(_) => "missing_capability",
            Self::NoSockDiag => "no_sock_diag",
            Self::BeforeAttach => "before_attach",
            Self::Missed => "missed",
            Self::CutDown => "cut_down",
            Self::NotInKernel => "not_in_kernel",
            Self::Nobody => "nobody",
            Self::SwitchedOff => "switched_off",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::NotYet => "not looked at yet",
            Self::Privilege(missing) => {
                let names: Vec<_> = missing.iter().map(|capability| capability.as_str()).collect();
                return write!(f, "missing {}", names.join(" and "));
            }
            Self::NoSockDiag => "sock_diag is not to be had (modules inet_diag and tcp_diag)",
            Self::BeforeAttach => "before netqueue attached",
            Self::Missed => "missed",
            Self::CutDown => "cut down by somaxconn: at least that",
            Self::NotInKernel => "this kernel has none",
            Self::Nobody => "no process holds it",
            Self::SwitchedOff => "switched off",
            Self::Unreadable => "not readable",
        };
        f.write_str(words)
    }
}

/// Reads the capabilities that are missing: one of the few sets there can be.
fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static [Capability], D::Error> {
    use Capability::{DacReadSearch, SysAdmin, SysPtrace};
    const ALL: [Capability; 3] = [SysPtrace, DacReadSearch, SysAdmin];
    const SETS: [&[Capability]; 8] = [
        &[],
        &[SysPtrace],
        &[DacReadSearch],
        &[SysPtrace, DacReadSearch],
        &[SysAdmin],
        &[SysPtrace, SysAdmin],
        &[DacReadSearch, SysAdmin],
        &ALL,
    ];
    let missing = Vec::<Capability>::deserialize(deserializer)?;
    let set = SETS.into_iter().find(|set| ALL.iter().all(|one| set.contains(one) == missing.contains(one)));
    Ok(set.unwrap_or(&ALL))
}

/// The inode number of a socket, as in /proc/PID/fd and sock_diag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketInode(pub u64);

/// Which packets a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// IPv6 and IPv4.
    DualStack,
    /// IPv6, and perhaps IPv4: the source does not tell.
    Ipv6OrDualStack,
}

impl Family {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::DualStack => "dual_stack",
            Self::Ipv6OrDualStack => "ipv6_or_dual_stack",
        }
    }
}

/// The place of a listener among those that share its address and port by SO_REUSEPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reuseport {
    /// How many there are.
    pub members: u32,
    /// Its number, from 1, in the order of their inodes.
    pub member: u32,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its address, port and namespace.
    pub at: Endpoint,
    /// The inode number of its socket.
    pub inode: SocketInode,
    /// The kernel's name for the socket, which no other ever has.
    pub cookie: Known<u64>,
    /// Which packets it takes.
    pub family: Family,
    /// The interface it is bound to (SO_BINDTODEVICE), by number.
    pub interface: Option<u32>,
    /// The user it was opened by.
    pub uid: u32,
    /// Its group, where several share its address and port.
    pub reuseport: Option<Reuseport>,
    /// What bounds its queues.
    pub limit: Limit,
    /// The processes that hold it, the one it is named after first.
    pub owners: Known<Arc<[Owner]>>,
    /// When it began to listen, if that was seen.
    pub opened: Known<Timestamp>,
    /// When it was first found.
    pub found: Timestamp,
    /// When it was found to be no more.
    pub closed: Option<Timestamp>,
}

impl Listener {
    /// The process it is named after.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owners.as_ref().ok().and_then(|owners| owners.first())
    }

    /// The name of that process as a label may carry it; empty while it is unknown.
    #[must_use]
    pub fn process(&self) -> &str {
        self.owner().map_or("", |owner| &owner.comm)
    }
}

/// What a pass over the system's listeners found to be different.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Listeners that are new, or of which something else is known now.
    pub listeners: Vec<Arc<Listener>>,
    /// The accept queues that are not as they were told last.
    pub queues: Vec<(SocketInode, QueueState)>,
    /// How long servers let connections idle, by namespace and port, of those looked at lately.
    #[serde(default)]
    pub idle_limits: Vec<(Netns, u16, IdleLimit)>,
    /// What could not be found out, in words.
    pub warnings: Vec<String>,
}

impl Changes {
    /// Whether anything is known now that was not, warnings aside.
    #[must_use]
    pub const fn tell_anything(&self) -> bool {
        !(self.listeners.is_empty() && self.queues.is_empty() && self.idle_limits.is_empty())
    }
}

/// Bytes as text a label, a terminal or a log may carry: what is no UTF-8 becomes U+FFFD, what is a control character `?`,
/// what is beyond `most` characters is left out.
#[must_use]
pub fn printable(bytes: &[u8], most: usize) -> Arc<str> {
    let plain = |c: char| if c.is_control() || owner::is_invisible(c) { '?' } else { c };
    String::from_utf8_lossy(bytes).chars().take(most).map(plain).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_name_a_process_gives_itself_breaks_a_line_a_label_or_a_terminal(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            most in 0_usize..32,
        ) {
            let text = printable(&bytes, most);
            prop_assert!(text.chars().count() <= most);
            prop_assert!(!text.chars().any(|c| c.is_control() || owner::is_invisible(c)));
        }

        #[test]
        fn an_ordinary_name_stays_as_it_is(name in "[ -~]{0,15}") {
            prop_assert_eq!(&*printable(name.as_bytes(), 15), name.as_str());
        }
    }

    #[test]
    fn escape_sequences_and_reordering_do_not_pass() {
        assert_eq!(&*printable(b"\x1b[31mroot\n\xff", 64), "?[31mroot?\u{fffd}");
        assert_eq!(&*printable("ab\u{202e}cd".as_bytes(), 64), "ab?cd");
    }

    #[test]
    fn a_missing_capability_is_named() {
        let unknown = Unknown::Privilege(&[Capability::SysPtrace, Capability::DacReadSearch]);
        assert_eq!(unknown.to_string(), "missing CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
    }
}
