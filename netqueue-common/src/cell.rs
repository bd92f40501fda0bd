//! What is counted: every exact count has one cell, and an event names the cell it raised.

/// Index of one exact count inside [`Counts`](crate::Counts); on the wire its integer value.
///
/// The order is the wire format between one build's kernel side and the same build's daemon; nothing else stores it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// SYN dropped because the accept queue is full (ListenOverflows and ListenDrops move).
    DropAcceptQueueFullSyn,
    /// Final ACK of a handshake dropped because the accept queue is full.
    DropAcceptQueueFullAck,
    /// Final ACK of a cookie handshake dropped because the accept queue is full.
    DropAcceptQueueFullCookieAck,
    /// SYN dropped because the SYN queue is full and cookies are off (TCPReqQFullDrop and ListenDrops move).
    DropSynQueueFull,
    /// SYN of an unproven peer dropped by the last-quarter rule of tcp_max_syn_backlog (only ListenDrops moves).
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
    /// Reset of a packet that reached a listener which knows nothing of its connection.
    ResetUnknownConnection,
    /// Reset of a packet whose handshake this listener remembers dropping the final ACK of, and no longer has.
    ResetExpiredHandshake,
    /// Reset of a packet for which there is neither connection nor listener.
    ResetNoListener,
    /// Reset of a packet that came after this side closed the connection, or because the peer never closed its side.
    ResetAfterClose,
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
    /// Reset for a reason none of the above covers, or that this kernel does not tell.
    ResetOther,

    /// Handshakes whose final ACK was dropped while the listener kept the request: once each.
    HandshakesSuspended,
    /// Of these: completed by a later ACK.
    HandshakesRecovered,
    /// Of these: ended by a reset of the listener's while it still had the request.
    HandshakesEnded,
    /// Of these: ended by a reset of the client's, whether or not the listener still had the request.
    HandshakesGivenUp,
    /// Of these: given up by the listener.
    HandshakesTimedOut,
    /// Of these last: answered with a reset when they spoke.
    HandshakesExpired,
    /// Cookie handshakes whose ACK was dropped: the client believes it is connected, the listener keeps nothing.
    Ghosts,
    /// Of these: let in by a later ACK.
    GhostsRecovered,
    /// Of these: answered with a reset.
    GhostsEnded,
    /// Of these: ended by a reset of the client's.
    GhostsGivenUp,

    /// Events that were not sent because the account's allowance was used up.
    EventsSuppressed,
    /// Events that were lost because the ring buffer was full.
    EventsLost,

    /// ListenOverflows of the BPF SYN-cookie helper: a program asked it for a cookie while the accept queue was full. No packet
    /// was dropped by the listener, and ListenDrops did not move.
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

impl Cell {
    /// How many cells there are.
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
        Self::ResetAfterClose,
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

    /// The cell with this wire code, if there is one.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

const _: () = {
    let mut index = 0;
    while index < Cell::COUNT {
        assert!(Cell::ALL[index] as usize == index, "Cell::ALL is in index order");
        index += 1;
    }
};
