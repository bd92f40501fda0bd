//! The exact counts: each has one cell, and an event names the cell that it raised.

/// Index of one exact count in [`CounterRow`](crate::CounterRow), and its integer value on the wire.
///
/// The order is the wire format between the kernel side and the daemon of one build; nothing else stores it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterId {
    /// SYN dropped because the accept queue is full (ListenOverflows and ListenDrops move).
    DropAcceptQueueFullSyn,
    /// Final ACK of a handshake dropped because the accept queue is full.
    DropAcceptQueueFullAck,
    /// Final ACK of a cookie handshake dropped because the accept queue is full.
    DropAcceptQueueFullCookieAck,
    /// SYN dropped because the SYN queue is full and cookies are off.
    /// TCPReqQFullDrop and ListenDrops move.
    DropSynQueueFull,
    /// SYN of an unproven peer, dropped by the last-quarter rule of tcp_max_syn_backlog.
    /// Only ListenDrops moves.
    DropSynBacklogReserve,
    /// SYN dropped for another reason: no route, memory, a security module.
    DropOtherSyn,
    /// Final ACK dropped for another reason.
    DropOtherAck,
    /// Final ACK of a cookie handshake dropped for another reason.
    DropOtherCookieAck,

    /// Reset in answer to a final ACK that found the accept queue full, tcp_abort_on_overflow being on.
    ResetOverflowAbort,
    /// Reset of a handshake in progress: an unacceptable packet hit a pending request.
    ResetHandshakeAborted,
    /// Reset of a packet for a listener that has no state of its connection.
    ResetUnknownConnection,
    /// Reset of a packet of an expired handshake.
    /// The listener had dropped the final ACK, which the kernel side remembers, and has no state of the
    /// handshake any more.
    ResetExpiredHandshake,
    /// Reset of a SYN for a port on which nothing listens.
    ResetNoListener,
    /// Reset of a packet other than a SYN for which there is neither connection nor listener.
    ResetNoConnection,
    /// Reset of a packet whose connection was reset a moment before.
    ResetAgain,
    /// Reset after this side closed the connection: a packet came late, or the peer never closed its side.
    ResetAfterClose,
    /// Reset of a FIN or of a TLS alert alone, after this side closed the connection or lost it.
    /// The peer was closing its side.
    ResetPeerClosing,
    /// Reset because the application closed with received data unread.
    ResetCloseUnreadData,
    /// Reset because of SO_LINGER with time-out 0.
    ResetLingerZero,
    /// Reset of a connection that waited in the accept queue of a listener that was closed.
    ResetListenerClosed,
    /// Reset after keep-alive probes went unanswered.
    ResetKeepaliveTimeout,
    /// Reset because TCP ran out of memory or orphan slots.
    ResetOutOfMemory,
    /// Reset for any other reason, or for one that this kernel does not reveal.
    ResetOther,

    /// Handshakes whose final ACK was dropped while the listener kept the request; each counts once.
    HandshakesSuspended,
    /// Suspended handshakes that a later ACK completed.
    HandshakesRecovered,
    /// Suspended handshakes that the listener ended with a reset while it still had the request.
    HandshakesEnded,
    /// Suspended handshakes that a reset of the client ended, whether or not the request still existed.
    HandshakesGivenUp,
    /// Suspended handshakes that the listener gave up.
    HandshakesTimedOut,
    /// Timed-out handshakes whose client then sent a packet and was answered with a reset.
    HandshakesExpired,
    /// Cookie handshakes whose ACK was dropped.
    /// The client considers itself connected, but the listener keeps no state.
    Ghosts,
    /// Ghosts that a later ACK admitted.
    GhostsRecovered,
    /// Ghosts that were answered with a reset.
    GhostsEnded,
    /// Ghosts whose client sent a reset.
    GhostsGivenUp,

    /// Events that were not sent because the account's allowance was used up.
    EventsSuppressed,
    /// Events that were lost because the ring buffer was full.
    EventsLost,

    /// ListenOverflows raised by the BPF SYN-cookie helper.
    /// A program asked it for a cookie while the accept queue was full. The listener dropped no packet, and
    /// ListenDrops did not move.
    CookieHelperOverflows,

    /// The kernel's ListenOverflows.
    ListenOverflows,
    /// The kernel's ListenDrops.
    ListenDrops,
    /// The kernel's TCPReqQFullDrop.
    ReqQFullDrop,
    /// The kernel's TCPReqQFullDoCookies.
    ReqQFullDoCookies,
    /// The kernel's SyncookiesSent.
    SyncookiesSent,
    /// The kernel's SyncookiesRecv.
    SyncookiesReceived,
    /// The kernel's SyncookiesFailed.
    SyncookiesFailed,
    /// The kernel's EmbryonicRsts.
    EmbryonicRsts,
    /// The kernel's OutRsts.
    OutRsts,
}

impl CounterId {
    /// Number of cells.
    pub const COUNT: usize = Self::OutRsts as usize + 1;

    /// Every cell, in index order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::DropAcceptQueueFullSyn,
        Self::DropAcceptQueueFullAck,
        Self::DropAcceptQueueFullCookieAck,
        Self::DropSynQueueFull,
        Self::DropSynBacklogReserve,
        Self::DropOtherSyn,
        Self::DropOtherAck,
        Self::DropOtherCookieAck,
        Self::ResetOverflowAbort,
        Self::ResetHandshakeAborted,
        Self::ResetUnknownConnection,
        Self::ResetExpiredHandshake,
        Self::ResetNoListener,
        Self::ResetNoConnection,
        Self::ResetAgain,
        Self::ResetAfterClose,
        Self::ResetPeerClosing,
        Self::ResetCloseUnreadData,
        Self::ResetLingerZero,
        Self::ResetListenerClosed,
        Self::ResetKeepaliveTimeout,
        Self::ResetOutOfMemory,
        Self::ResetOther,
        Self::HandshakesSuspended,
        Self::HandshakesRecovered,
        Self::HandshakesEnded,
        Self::HandshakesGivenUp,
        Self::HandshakesTimedOut,
        Self::HandshakesExpired,
        Self::Ghosts,
        Self::GhostsRecovered,
        Self::GhostsEnded,
        Self::GhostsGivenUp,
        Self::EventsSuppressed,
        Self::EventsLost,
        Self::CookieHelperOverflows,
        Self::ListenOverflows,
        Self::ListenDrops,
        Self::ReqQFullDrop,
        Self::ReqQFullDoCookies,
        Self::SyncookiesSent,
        Self::SyncookiesReceived,
        Self::SyncookiesFailed,
        Self::EmbryonicRsts,
        Self::OutRsts,
    ];

    /// Returns the cell with this wire code, if there is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

const _: () = {
    let mut index = 0;
    while index < CounterId::COUNT {
        assert!(CounterId::ALL[index] as usize == index, "CounterId::ALL is in index order");
        index += 1;
    }
};
