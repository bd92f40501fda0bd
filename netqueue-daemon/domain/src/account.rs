//! Accounts: the listeners, ports and namespaces that drops and resets are charged to.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

/// A network namespace, identified by inode number and generation. The kernel reuses the inode number
/// of a dead namespace at once, so the generation distinguishes them: 0 for a namespace that existed when
/// netqueue attached, another one for each later namespace with that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Netns {
    /// Inode number, as in /proc/PID/ns/net.
    pub inode: u32,
    /// Generation, which distinguishes namespaces that had this inode number one after the other.
    #[serde(default, skip_serializing_if = "super::event::is_default")]
    pub generation: u32,
}

impl Netns {
    /// Returns the namespace of this inode number that existed when netqueue attached.
    #[must_use]
    pub const fn at_attach(inode: u32) -> Self {
        Self { inode, generation: 0 }
    }

    /// Placeholder for all namespaces that ended long ago; no namespace has inode number 0.
    pub const GONE: Self = Self::at_attach(0);
}

/// Formats as `4026532201`, or as `4026532201.3` if the namespace was made after netqueue attached.
impl fmt::Display for Netns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(formatter, "{}", self.inode),
            generation => write!(formatter, "{}.{generation}", self.inode),
        }
    }
}

/// Identity of a listening socket: no two listeners share one while netqueue is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

/// A local address and port in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The namespace.
    pub netns: Netns,
    /// Address that a listener is bound to, or that a packet was sent to.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
}

/// Identity of an account that drops and resets are charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKey {
    /// A listening socket. Two sockets on one port (SO_REUSEPORT, or one after the other) are two accounts.
    Listener {
        /// Identity of the socket.
        socket: SocketId,
        /// Address and port that the socket listens on.
        at: Endpoint,
    },
    /// A local address and port that sent resets which concern no listener, such as a closed port.
    Endpoint(Endpoint),
    /// All local ports of one address that connections leave from (ip_local_port_range). Most of these
    /// resets are sent by this host as a client.
    Ephemeral {
        /// The namespace.
        netns: Netns,
        /// The address.
        addr: IpAddr,
    },
    /// Charges of a namespace for which the kernel side's maps had no free slot.
    Other(Netns),
    /// Charges of a namespace's listeners closed long ago, and of closed ports silent for long. The account
    /// takes over whole counts at once, so its rate means nothing.
    Gone(Netns),
}

/// Hashes a listener by its socket alone, which is unique: each event computes the hash several times.
impl Hash for AccountKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Listener { socket, at: _ } => socket.hash(state),
            Self::Endpoint(at) => at.hash(state),
            Self::Ephemeral { netns, addr } => (netns, addr).hash(state),
            Self::Other(netns) | Self::Gone(netns) => netns.hash(state),
        }
    }
}

impl AccountKey {
    /// Returns the account's namespace.
    #[must_use]
    pub const fn netns(&self) -> Netns {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => at.netns,
            Self::Ephemeral { netns, .. } | Self::Other(netns) | Self::Gone(netns) => *netns,
        }
    }

    /// Returns whether the account is a listening socket.
    #[must_use]
    pub const fn is_listener(&self) -> bool {
        matches!(self, Self::Listener { .. })
    }

    /// Returns the account's address, if it has one.
    #[must_use]
    pub const fn addr(&self) -> Option<IpAddr> {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => Some(at.addr),
            Self::Ephemeral { addr, .. } => Some(*addr),
            Self::Other(_) | Self::Gone(_) => None,
        }
    }

    /// Returns the account's port, if it has one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => Some(at.port),
            Self::Ephemeral { .. } | Self::Other(_) | Self::Gone(_) => None,
        }
    }

    /// Returns `listener`, `endpoint`, `ephemeral`, `other` or `gone`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Listener { .. } => "listener",
            Self::Endpoint(_) => "endpoint",
            Self::Ephemeral { .. } => "ephemeral",
            Self::Other(_) => "other",
            Self::Gone(_) => "gone",
        }
    }
}

/// Identifier of an account for API and user interface, unique while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(pub u64);
