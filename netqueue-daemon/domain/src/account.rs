//! Who is charged.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

/// A network namespace. The kernel gives the inode number of a dead one to the next at once; the generation tells them
/// apart: 0 for one that was there when netqueue attached, and for each later one that has the number another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Netns {
    /// Inode number, as in /proc/PID/ns/net.
    pub inode: u32,
    /// Which of those that had the number.
    #[serde(default, skip_serializing_if = "super::event::is_default")]
    pub generation: u32,
}

impl Netns {
    /// One that was there when netqueue attached.
    #[must_use]
    pub const fn at_attach(inode: u32) -> Self {
        Self { inode, generation: 0 }
    }

    /// Stands for all that ended long ago: no namespace has this number.
    pub const GONE: Self = Self::at_attach(0);
}

/// `4026532201`, and `4026532201.3` for one that was made since netqueue attached.
impl fmt::Display for Netns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(formatter, "{}", self.inode),
            generation => write!(formatter, "{}.{generation}", self.inode),
        }
    }
}

/// The identity of a listening socket while netqueue is attached: no two listeners share one, at whatever time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

/// A local address and port in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The namespace.
    pub netns: Netns,
    /// The address a listener is bound to, or a packet was sent to.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
}

/// One account that drops and resets are charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKey {
    /// A listening socket. Two sockets on one port (SO_REUSEPORT, or one after the other) are two accounts.
    Listener {
        /// Which socket.
        socket: SocketId,
        /// Where it listens.
        at: Endpoint,
    },
    /// A local address and port that sent resets no listener was concerned with.
    Endpoint(Endpoint),
    /// All local ports of one address that connections leave from (ip_local_port_range): mostly resets this host sends
    /// as a client.
    Ephemeral {
        /// The namespace.
        netns: Netns,
        /// The address.
        addr: IpAddr,
    },
    /// What a namespace was charged after the kernel side's maps were full.
    Other(Netns),
    /// What listeners of a namespace were charged that are long closed, and ports nobody listens on that are long silent.
    /// It takes over whole counts at once: how fast it rises means nothing.
    Gone(Netns),
}

/// Every event is looked up by it, several times: a listener's socket, which is no other's, is enough of it.
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
    /// The account's namespace.
    #[must_use]
    pub const fn netns(&self) -> Netns {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => at.netns,
            Self::Ephemeral { netns, .. } | Self::Other(netns) | Self::Gone(netns) => *netns,
        }
    }

    /// Whether it is a listening socket.
    #[must_use]
    pub const fn is_listener(&self) -> bool {
        matches!(self, Self::Listener { .. })
    }

    /// Its address, if it has one.
    #[must_use]
    pub const fn addr(&self) -> Option<IpAddr> {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => Some(at.addr),
            Self::Ephemeral { addr, .. } => Some(*addr),
            Self::Other(_) | Self::Gone(_) => None,
        }
    }

    /// Its port, if it has one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Listener { at, .. } | Self::Endpoint(at) => Some(at.port),
            Self::Ephemeral { .. } | Self::Other(_) | Self::Gone(_) => None,
        }
    }

    /// `listener`, `endpoint`, `ephemeral`, `other` or `gone`.
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

/// A name for an account that may be shown: unique while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountId(pub u64);
