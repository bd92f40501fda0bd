//! Decodes the wire's integers into the domain's types. Undecodable input gives `None`, never a panic.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use netqueue_common::{CounterId, EventRecord, ListenerKey, NO_REASON, Namespace, UNKNOWN_LENGTH};
use netqueue_domain::{
    AccountKey, DropKind, Endpoint, Event, Netns, Peer, QueueState, Queues, ResetCause, SocketId, Timestamp,
    What,
};
use zerocopy::FromBytes;

use super::layout::ResetReasons;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Returns the account that a key names; `None` for a family that is neither IPv4 nor IPv6.
///
/// A listener is identified by its slot and that slot's generation: its kernel address stays in the kernel.
pub(super) fn account(key: &ListenerKey, slot: u32, generation: u32) -> Option<AccountKey> {
    let netns = netns(key.netns);
    if *key == ListenerKey::other(key.netns) {
        return Some(AccountKey::Other(netns));
    }
    let at = Endpoint { netns, addr: address(key.family, key.addr)?, port: key.port };
    Some(match key.sock {
        0 if key.port == 0 => AccountKey::Ephemeral { netns, addr: at.addr },
        0 => AccountKey::Endpoint(at),
        _ => AccountKey::Listener { socket: SocketId(u64::from(generation) << 32 | u64::from(slot)), at },
    })
}

/// Converts a namespace.
pub(super) const fn netns(Namespace { inode, generation }: Namespace) -> Netns {
    Netns { inode, generation }
}

fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// Decodes records of the ring buffer as the daemon does, for benchmarks of the decoding.
#[derive(Debug, Default)]
pub struct Decoder(ResetReasons);

impl Decoder {
    /// Decodes the event in a record; `None` if it contains none.
    #[must_use]
    pub fn event(&self, record: &[u8], epoch: Timestamp) -> Option<Event> {
        event(record, &self.0, epoch)
    }
}

/// Decodes the event in a record of the ring buffer; `None` if it contains none.
///
/// `epoch` is the wall-clock time at which the kernel's monotonic clock was zero.
pub(super) fn event(bytes: &[u8], reasons: &ResetReasons, epoch: Timestamp) -> Option<Event> {
    let record = EventRecord::read_from_bytes(bytes).ok()?;
    let peer =
        address(record.peer_family, record.peer_addr).map(|addr| Peer { addr, port: record.peer_port });
    Some(Event {
        time: Timestamp::from_nanos(epoch.as_nanos() + record.time),
        account: account(&record.key, record.slot, record.generation)?,
        local_port: u16::try_from(record.local_port).ok()?,
        peer,
        what: what(CounterId::from_code(record.code)?)?,
        kernel_reason: match record.reason {
            NO_REASON => None,
            reason => Some(reasons.get(&reason).cloned().unwrap_or_else(|| reason.to_string().into())),
        },
        queues: Queues {
            accept: queue(record.accept_length, record.accept_limit),
            syn: queue(record.syn_length, record.syn_limit),
        },
        cpu: record.cpu,
        age: (record.age != 0).then(|| Duration::from_nanos(record.age)),
    })
}

pub(super) fn queue(length: u32, limit: u32) -> Option<QueueState> {
    (length != UNKNOWN_LENGTH && limit != UNKNOWN_LENGTH).then_some(QueueState { length, limit })
}

/// Returns the drop or reset that a cell counts; `None` for a cell that no event carries.
fn what(cell: CounterId) -> Option<What> {
    let of_drop = DropKind::ALL.into_iter().find(|kind| cell_of_drop(*kind) == cell).map(What::Drop);
    of_drop
        .or_else(|| ResetCause::ALL.into_iter().find(|cause| cell_of_reset(*cause) == cell).map(What::Reset))
}

/// Returns the cell that counts a kind of drop.
pub(super) const fn cell_of_drop(kind: DropKind) -> CounterId {
    match kind {
        DropKind::AcceptQueueFullSyn => CounterId::DropAcceptQueueFullSyn,
        DropKind::AcceptQueueFullAck => CounterId::DropAcceptQueueFullAck,
        DropKind::AcceptQueueFullCookieAck => CounterId::DropAcceptQueueFullCookieAck,
        DropKind::SynQueueFull => CounterId::DropSynQueueFull,
        DropKind::SynBacklogReserve => CounterId::DropSynBacklogReserve,
        DropKind::OtherSyn => CounterId::DropOtherSyn,
        DropKind::OtherAck => CounterId::DropOtherAck,
        DropKind::OtherCookieAck => CounterId::DropOtherCookieAck,
    }
}

/// Returns the cell that counts a cause of resets.
pub(super) const fn cell_of_reset(cause: ResetCause) -> CounterId {
    match cause {
        ResetCause::OverflowAbort => CounterId::ResetOverflowAbort,
        ResetCause::HandshakeAborted => CounterId::ResetHandshakeAborted,
        ResetCause::UnknownConnection => CounterId::ResetUnknownConnection,
        ResetCause::ExpiredHandshake => CounterId::ResetExpiredHandshake,
        ResetCause::NoListener => CounterId::ResetNoListener,
        ResetCause::NoConnection => CounterId::ResetNoConnection,
        ResetCause::Again => CounterId::ResetAgain,
        ResetCause::AfterClose => CounterId::ResetAfterClose,
        ResetCause::PeerClosing => CounterId::ResetPeerClosing,
        ResetCause::CloseUnreadData => CounterId::ResetCloseUnreadData,
        ResetCause::LingerZero => CounterId::ResetLingerZero,
        ResetCause::ListenerClosed => CounterId::ResetListenerClosed,
        ResetCause::KeepaliveTimeout => CounterId::ResetKeepaliveTimeout,
        ResetCause::OutOfMemory => CounterId::ResetOutOfMemory,
        ResetCause::Other => CounterId::ResetOther,
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    const KERNEL_POD: Namespace = Namespace { inode: 4_026_532_201, generation: 3 };
    const POD: Netns = Netns { inode: 4_026_532_201, generation: 3 };

    fn record() -> EventRecord {
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&[10, 9, 9, 3]);
        EventRecord {
            time: 5_000,
            age: 0,
            key: ListenerKey {
                sock: 0xffff_8880_0000_1000,
                netns: KERNEL_POD,
                port: 80,
                family: AF_INET6,
                addr: [0; 16],
                reserved: 0,
            },
            peer_addr: addr,
            peer_port: 1234,
            peer_family: AF_INET,
            local_port: 80,
            code: CounterId::DropAcceptQueueFullAck as u32,
            cpu: 3,
            reason: NO_REASON,
            accept_length: 9,
            accept_limit: 8,
            syn_length: 6,
            syn_limit: 8,
            slot: 5,
            generation: 1,
            reserved: 0,
        }
    }

    fn decode(record: &EventRecord) -> Option<Event> {
        let reasons = ResetReasons::from([(6, "TCP_FLAGS".into())]);
        event(record.as_bytes(), &reasons, Timestamp::from_nanos(1_000_000))
    }

    #[test]
    fn a_dropped_ack_on_a_dual_stack_listener_names_the_ipv4_peer() {
        let event = decode(&record()).expect("it is a record");
        assert_eq!(event.time, Timestamp::from_nanos(1_005_000));
        assert_eq!(event.what, What::Drop(DropKind::AcceptQueueFullAck));
        assert_eq!(event.account.addr(), Some(Ipv6Addr::UNSPECIFIED.into()));
        assert_eq!(event.peer, Some(Peer { addr: Ipv4Addr::new(10, 9, 9, 3).into(), port: 1234 }));
        assert_eq!(event.queues.accept, Some(QueueState { length: 9, limit: 8 }));
    }

    #[test]
    fn a_reset_carries_the_kernels_reason_by_name_or_number() {
        let code = CounterId::ResetUnknownConnection as u32;
        let named = decode(&EventRecord { code, reason: 6, ..record() }).expect("it is a record");
        assert_eq!(named.kernel_reason.as_deref(), Some("TCP_FLAGS"));
        let unnamed = decode(&EventRecord { code, reason: 99, ..record() }).expect("it is a record");
        assert_eq!(unnamed.kernel_reason.as_deref(), Some("99"));
    }

    #[test]
    fn an_endpoint_without_port_stands_for_an_addresss_ephemeral_ports() {
        let mut key = record().key;
        key.sock = 0;
        assert!(matches!(account(&key, 5, 1), Some(AccountKey::Endpoint(at)) if at.port == 80));
        key.port = 0;
        let addr = Ipv6Addr::UNSPECIFIED.into();
        assert_eq!(account(&key, 5, 1), Some(AccountKey::Ephemeral { netns: POD, addr }));
        let event = decode(&EventRecord { key, local_port: 40_000, ..record() }).expect("it is a record");
        assert_eq!(event.local_port, 40_000);
    }

    #[test]
    fn a_slot_given_back_and_taken_again_is_another_listener() {
        let key = record().key;
        assert_eq!(account(&key, 5, 1), account(&key, 5, 1));
        assert_ne!(account(&key, 5, 1), account(&key, 5, 2));
        assert_ne!(account(&key, 5, 1), account(&key, 6, 1));
    }

    #[test]
    fn what_is_no_event_does_not_decode() {
        assert_eq!(decode(&EventRecord { code: 10_000, ..record() }), None);
        assert_eq!(decode(&EventRecord { code: CounterId::ListenDrops as u32, ..record() }), None);
        let mut other_family = record();
        other_family.key.family = 17;
        assert_eq!(decode(&other_family), None);
        assert_eq!(event(&record().as_bytes()[1..], &ResetReasons::new(), Timestamp::default()), None);
    }

    #[test]
    fn unknown_queues_and_peers_are_absent_not_zero() {
        let event = decode(&EventRecord { accept_length: UNKNOWN_LENGTH, peer_family: 0, ..record() })
            .expect("it is a record");
        assert_eq!((event.queues.accept, event.peer), (None, None));
    }

    #[test]
    fn every_cell_that_an_event_can_name_has_a_word_and_only_those() {
        let named = CounterId::ALL.into_iter().filter_map(what).count();
        assert_eq!(named, DropKind::ALL.len() + ResetCause::ALL.len());
        assert_eq!(account(&ListenerKey::other(KERNEL_POD), 5, 1), Some(AccountKey::Other(POD)));
    }
}
