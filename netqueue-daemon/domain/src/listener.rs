//! Listening sockets, their owners and their limits, with the reason for anything that is unknown.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Endpoint, IdleLimit, Limit, Netns, Owner, OwnerState, QueueState, Timestamp, owner};

/// Value, or the reason why it is unknown.
pub type Known<T> = Result<T, Unknown>;

/// Reason why something is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unknown {
    /// Not read yet.
    NotYet,
    /// Not readable without these capabilities.
    #[serde(deserialize_with = "capabilities")]
    Privilege(&'static [Capability]),
    /// sock_diag unavailable: neither module nor built in, or its namespace cannot be entered.
    NoSockDiag,
    /// Past: happened before netqueue attached.
    BeforeAttach,
    /// Missed while netqueue was attached.
    Missed,
    /// Cut down by somaxconn: at least as much as is in force.
    CutDown,
    /// Absent from this kernel.
    NotInKernel,
    /// Owned by no process: the kernel itself opened the socket, or its owner has gone.
    Nobody,
    /// Switched off.
    SwitchedOff,
    /// Not readable for another reason.
    Unreadable,
}

/// Capability that netqueue may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// CAP_SYS_PTRACE, to read other users' processes.
    SysPtrace,
    /// CAP_DAC_READ_SEARCH, to read the directories of other users' processes.
    DacReadSearch,
    /// CAP_SYS_ADMIN, to enter namespaces.
    SysAdmin,
}

impl Capability {
    /// Returns the capability's name.
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
    /// Returns one word for the reason.
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

/// Deserializes missing capabilities as one of the few sets there can be.
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

/// Inode number of a socket, as in /proc/PID/fd and sock_diag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketInode(pub u64);

/// IP versions that a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// IPv6 and IPv4.
    DualStack,
    /// IPv6, and perhaps IPv4: the source does not reveal it.
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

/// Position of a listener among those that share its address and port by SO_REUSEPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reuseport {
    /// Number of members.
    pub members: u32,
    /// Number of this member, from 1, in the order of the inodes.
    pub member: u32,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Address, port and namespace.
    pub at: Endpoint,
    /// Inode number of the socket.
    pub inode: SocketInode,
    /// Socket cookie, which the kernel never gives to another socket.
    pub cookie: Known<u64>,
    /// IP versions that the listener takes.
    pub family: Family,
    /// Interface that the listener is bound to (SO_BINDTODEVICE), by number.
    pub interface: Option<u32>,
    /// Id of the user that opened the listener.
    pub uid: u32,
    /// Position in the SO_REUSEPORT group, if several listeners share address and port.
    pub reuseport: Option<Reuseport>,
    /// Limits of the queues.
    pub limit: Limit,
    /// Processes that own the listener, the one it is named after first.
    pub owners: Known<Arc<[Owner]>>,
    /// Time at which it began to listen, if that was seen.
    pub opened: Known<Timestamp>,
    /// Time at which it was first found.
    pub found: Timestamp,
    /// Time at which it was found to be closed.
    pub closed: Option<Timestamp>,
}

impl Listener {
    /// Returns the process that the listener is named after.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owners.as_ref().ok().and_then(|owners| owners.first())
    }

    /// Returns the name of the owner as a label may carry it, empty while it is unknown.
    #[must_use]
    pub fn process(&self) -> &str {
        self.owner().map_or("", |owner| &owner.comm)
    }
}

/// Changes that a pass over the system's listeners found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Listeners that are new, or of which something has changed.
    pub listeners: Vec<Arc<Listener>>,
    /// Accept queues that differ from those last reported.
    pub queues: Vec<(SocketInode, QueueState)>,
    /// Idle time-outs of the servers examined lately, by namespace and port.
    #[serde(default)]
    pub idle_limits: Vec<(Netns, u16, IdleLimit)>,
    /// States of the owners of listeners on which connections wait for accept().
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_states: Vec<(SocketInode, Arc<OwnerState>)>,
    /// Gaps in what the pass found, in words.
    pub warnings: Vec<String>,
}

impl Changes {
    /// Returns whether there is anything new, warnings aside.
    #[must_use]
    pub const fn tell_anything(&self) -> bool {
        !(self.listeners.is_empty()
            && self.queues.is_empty()
            && self.idle_limits.is_empty()
            && self.owner_states.is_empty())
    }
}

/// Converts bytes to text that a label, a terminal or a log may carry. Invalid UTF-8 becomes U+FFFD,
/// control and invisible characters become `?`, and everything beyond `most` characters is left out.
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
