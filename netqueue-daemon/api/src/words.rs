//! Short forms of responses, for reports and logs.

use std::{fmt, net::SocketAddr};

use super::{Drops, Event, Listener, Part, Peer, Queue, Resets};

/// Kind and address of an account.
impl fmt::Display for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, self.port) {
            (Some(addr), Some(port)) => write!(formatter, "{} {}", self.kind, SocketAddr::new(addr, port)),
            (Some(addr), None) => write!(formatter, "{} ports of {addr}", self.kind),
            (None, _) => write!(formatter, "{} of namespace {}", self.kind, self.netns),
        }
    }
}

/// Parts of the total, as `3 accept_queue_full at syn, 1 other at ack`.
impl fmt::Display for Drops {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(formatter, self.parts())
    }
}

/// Parts of the total, as `3 no_listener, 1 linger_zero`.
impl fmt::Display for Resets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(formatter, self.parts())
    }
}

fn list<'a>(formatter: &mut fmt::Formatter<'_>, parts: impl Iterator<Item = Part<'a>>) -> fmt::Result {
    for (index, part) in parts.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(formatter, "{comma}{part}")?;
    }
    Ok(())
}

/// Count, cause and stage, as `3 accept_queue_full at syn`.
impl fmt::Display for Part<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.count, self.cause)?;
        self.stage.map_or(Ok(()), |stage| write!(formatter, " at {stage}"))
    }
}

/// Number, cause, port, peer and queues of an event.
impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{} {} {}", self.seq, self.kind, self.cause)?;
        if let Some(stage) = &self.stage {
            write!(formatter, " at {stage}")?;
        }
        if let Some(port) = self.port {
            write!(formatter, " on port {port}")?;
        }
        match &self.peer {
            Some(peer) => write!(formatter, " from {}", peer.address())?,
            None => write!(formatter, " from nobody")?,
        }
        for (name, queue) in [("accept", self.accept_queue), ("SYN", self.syn_queue)] {
            if let Some(Queue { length, limit }) = queue {
                write!(formatter, ", {name} queue {length} of {limit}")?;
            }
        }
        Ok(())
    }
}

impl Peer {
    /// Returns the socket address, an IPv4 peer of a dual-stack listener as IPv4.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.addr.to_canonical(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_listener_is_ipv4() {
        let peer = Peer { addr: "::ffff:127.0.0.1".parse().expect("an address"), port: 99 };
        assert_eq!(peer.address().to_string(), "127.0.0.1:99");
    }
}
