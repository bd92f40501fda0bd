//! Connections with a reset of their own cause, by which further resets of them are recognized.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use crate::{Event, Netns, ResetCause, Timestamp, What};

/// Times of such resets, by namespace, local port and remote end.
#[derive(Debug, Default)]
pub(super) struct EndedConnections(HashMap<(Netns, u16, SocketAddr), Vec<Timestamp>>);

/// Greatest distance between two resets of one connection on two CPUs.
const AT_ONCE: Duration = Duration::from_secs(1);

impl EndedConnections {
    /// Collects them from the events of all accounts.
    pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut ended: HashMap<_, Vec<_>> = HashMap::new();
        for event in events {
            let own = matches!(
                event.what,
                What::Reset(ResetCause::AfterClose | ResetCause::CloseUnreadData | ResetCause::LingerZero)
            );
            if let Some(connection) = connection(event).filter(|_| own) {
                ended.entry(connection).or_default().push(event.time);
            }
        }
        Self(ended)
    }

    /// Counts the resets of unknown connections among these events that belong to one of these connections.
    pub(super) fn further_resets(&self, events: &[Event]) -> u64 {
        let near = |event: &&Event| {
            let ends = connection(event).and_then(|connection| self.0.get(&connection));
            let distance = |end: &Timestamp| end.since(event.time).max(event.time.since(*end));
            ends.is_some_and(|ends| ends.iter().any(|end| distance(end) <= AT_ONCE))
        };
        let unknown = |event: &&Event| event.what == What::Reset(ResetCause::UnknownConnection);
        events.iter().filter(unknown).filter(near).count() as u64
    }
}

fn connection(event: &Event) -> Option<(Netns, u16, SocketAddr)> {
    let peer = event.peer?;
    Some((event.account.netns(), event.local_port, SocketAddr::new(peer.addr, peer.port)))
}
