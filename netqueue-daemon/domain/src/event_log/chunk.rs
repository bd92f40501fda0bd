//! Packed events with consecutive numbers: 64 bytes each, and once what they share.

use std::{collections::HashMap, hash::Hash, net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{AccountKey, DropKind, Event, Peer, QueueState, Queues, ResetCause, Timestamp, What};

/// Events with consecutive numbers.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) times: RangeInclusive<Timestamp>,
    pub(super) events: Box<[Packed]>,
    accounts: Box<[AccountKey]>,
    reasons: Box<[Arc<str>]>,
}

/// Event without the parts that it shares with others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    time: Timestamp,
    age: u64,
    peer: [u8; 16],
    queues: [u32; 4],
    /// Index into the chunk's accounts; `reason` is an index into its reasons counted from 1, 0 for none.
    account: u16,
    reason: u16,
    peer_port: u16,
    local_port: u16,
    cpu: u16,
    /// Length of the peer's address in bytes: 0, 4 or 16.
    peer_length: u8,
    /// Index into the drop kinds followed by the reset causes.
    what: u8,
}

/// Marks a length or limit that is unknown.
const UNKNOWN: u32 = u32::MAX;

impl Chunk {
    pub(super) fn pack(first: u64, events: &[Event]) -> Self {
        let (mut accounts, mut reasons) = (Distinct::default(), Distinct::<Arc<str>>::default());
        let packed = events.iter().map(|event| {
            let account = accounts.place(&event.account);
            let reason = event.kernel_reason.as_ref().map_or(0, |reason| reasons.place(reason) + 1);
            Packed::of(event, account, reason)
        });
        let events: Box<[Packed]> = packed.collect();
        let times = || events.iter().map(|event| event.time);
        let times = times().min().unwrap_or_default()..=times().max().unwrap_or_default();
        Self { first, times, events, accounts: accounts.items.into(), reasons: reasons.items.into() }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.events)
            + size_of_val(&*self.accounts)
            + size_of_val(&*self.reasons)
    }

    pub(super) fn event(&self, index: usize) -> Option<(u64, Event)> {
        let packed = self.events.get(index)?;
        let account = *self.accounts.get(usize::from(packed.account))?;
        let reason = usize::from(packed.reason).checked_sub(1).and_then(|reason| self.reasons.get(reason));
        Some((self.first + index as u64, packed.unpack(account, reason.cloned())?))
    }
}

/// Distinct items in the order of their first appearance.
struct Distinct<T> {
    items: Vec<T>,
    places: HashMap<T, u16>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { items: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Distinct<T> {
    /// Number of newest items compared before the hash map is used: few differ, and the newest repeat most.
    const NEAR: usize = 4;

    /// Returns the index of `item`, which is appended if it is new.
    fn place(&mut self, item: &T) -> u16 {
        let far = self.items.len().saturating_sub(Self::NEAR);
        let near = self.items.get(far..).and_then(|near| near.iter().rposition(|known| known == item));
        // A chunk has no more items than events.
        let number = |place| u16::try_from(place).unwrap_or(u16::MAX);
        if let Some(near) = near {
            return number(far + near);
        }
        let next = number(self.items.len());
        *self.places.entry(item.clone()).or_insert_with(|| {
            self.items.push(item.clone());
            next
        })
    }
}

impl Packed {
    fn of(event: &Event, account: u16, reason: u16) -> Self {
        let mut peer = [0; 16];
        let (peer_length, peer_port) = match event.peer {
            None => (0, 0),
            Some(Peer { addr: IpAddr::V4(addr), port }) => {
                peer[..4].copy_from_slice(&addr.octets());
                (4, port)
            }
            Some(Peer { addr: IpAddr::V6(addr), port }) => {
                peer = addr.octets();
                (16, port)
            }
        };
        let queue =
            |queue: Option<QueueState>| queue.map_or([UNKNOWN; 2], |queue| [queue.length, queue.limit]);
        let ([accept, accept_limit], [syn, syn_limit]) =
            (queue(event.queues.accept), queue(event.queues.syn));
        Self {
            time: event.time,
            age: event.age.map_or(u64::MAX, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX - 1)),
            peer,
            queues: [accept, accept_limit, syn, syn_limit],
            account,
            reason,
            peer_port,
            local_port: event.local_port,
            cpu: u16::try_from(event.cpu).unwrap_or(u16::MAX),
            peer_length,
            what: match event.what {
                What::Drop(kind) => kind as u8,
                What::Reset(cause) => DropKind::ALL.len() as u8 + cause as u8,
            },
        }
    }

    fn unpack(&self, account: AccountKey, kernel_reason: Option<Arc<str>>) -> Option<Event> {
        let [a, b, c, d, ..] = self.peer;
        let addr: Option<IpAddr> = match self.peer_length {
            4 => Some([a, b, c, d].into()),
            16 => Some(self.peer.into()),
            _ => None,
        };
        let what = usize::from(self.what);
        let [accept, accept_limit, syn, syn_limit] = self.queues;
        let queue = |length, limit| (length != UNKNOWN).then_some(QueueState { length, limit });
        Some(Event {
            time: self.time,
            account,
            local_port: self.local_port,
            peer: addr.map(|addr| Peer { addr, port: self.peer_port }),
            what: match DropKind::ALL.get(what) {
                Some(kind) => What::Drop(*kind),
                None => What::Reset(*ResetCause::ALL.get(what - DropKind::ALL.len())?),
            },
            kernel_reason,
            queues: Queues { accept: queue(accept, accept_limit), syn: queue(syn, syn_limit) },
            cpu: u32::from(self.cpu),
            age: (self.age != u64::MAX).then(|| Duration::from_nanos(self.age)),
        })
    }
}
