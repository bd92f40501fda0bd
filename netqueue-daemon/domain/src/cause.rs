//! Causes of dropped SYNs and ACKs and of resets, in the words that every surface uses.

use serde::{Deserialize, Serialize};

/// Step of the handshake at which a drop happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The SYN: the client sees a slow or timed-out connect.
    Syn,
    /// The final ACK of a handshake: the client believes it is connected.
    Ack,
    /// The final ACK that returns a SYN cookie. The client believes it is connected; the server has no
    /// state of it.
    CookieAck,
}

impl Stage {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::Ack => "ack",
            Self::CookieAck => "cookie_ack",
        }
    }
}

/// Reason why a listener dropped a SYN or an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropCause {
    /// The accept queue is over its limit. The process accepts too slowly, or a burst was larger than the
    /// backlog.
    AcceptQueueFull,
    /// The SYN queue is full and cookies are off.
    SynQueueFull,
    /// Cookies are off, and the last quarter of tcp_max_syn_backlog is kept for proven peers. A peer is
    /// proven by an earlier connection.
    SynBacklogReserve,
    /// No route, no memory, a security module, or a setting of the packet itself.
    Other,
}

impl DropCause {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptQueueFull => "accept_queue_full",
            Self::SynQueueFull => "syn_queue_full",
            Self::SynBacklogReserve => "syn_backlog_reserve",
            Self::Other => "other",
        }
    }
}

/// Combination of cause and stage that the kernel can produce. The sum over all of them is ListenDrops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum DropKind {
    /// Accept queue full at the SYN.
    AcceptQueueFullSyn,
    /// Accept queue full at the final ACK.
    AcceptQueueFullAck,
    /// Accept queue full at a cookie's ACK.
    AcceptQueueFullCookieAck,
    /// SYN queue full.
    SynQueueFull,
    /// Last-quarter rule.
    SynBacklogReserve,
    /// Anything else at the SYN.
    OtherSyn,
    /// Anything else at the final ACK.
    OtherAck,
    /// Anything else at a cookie's ACK.
    OtherCookieAck,
}

impl DropKind {
    /// Every kind, in index order.
    pub const ALL: [Self; 8] = [
        Self::AcceptQueueFullSyn,
        Self::AcceptQueueFullAck,
        Self::AcceptQueueFullCookieAck,
        Self::SynQueueFull,
        Self::SynBacklogReserve,
        Self::OtherSyn,
        Self::OtherAck,
        Self::OtherCookieAck,
    ];

    /// Returns the cause.
    #[must_use]
    pub const fn cause(self) -> DropCause {
        match self {
            Self::AcceptQueueFullSyn | Self::AcceptQueueFullAck | Self::AcceptQueueFullCookieAck => {
                DropCause::AcceptQueueFull
            }
            Self::SynQueueFull => DropCause::SynQueueFull,
            Self::SynBacklogReserve => DropCause::SynBacklogReserve,
            Self::OtherSyn | Self::OtherAck | Self::OtherCookieAck => DropCause::Other,
        }
    }

    /// Returns the stage.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::AcceptQueueFullSyn | Self::SynQueueFull | Self::SynBacklogReserve | Self::OtherSyn => {
                Stage::Syn
            }
            Self::AcceptQueueFullAck | Self::OtherAck => Stage::Ack,
            Self::AcceptQueueFullCookieAck | Self::OtherCookieAck => Stage::CookieAck,
        }
    }
}

/// Reason why this host sent a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum ResetCause {
    /// The final ACK found the accept queue full and tcp_abort_on_overflow is on.
    OverflowAbort,
    /// An unacceptable packet ended a handshake in progress.
    HandshakeAborted,
    /// The packet reached a listener that has no state of its connection.
    UnknownConnection,
    /// The listener had given up the packet's handshake, whose final ACK a full accept queue had dropped.
    ExpiredHandshake,
    /// A SYN came for a port on which nothing listens.
    NoListener,
    /// A packet other than a SYN matches neither a connection nor a listener.
    NoConnection,
    /// The packet's connection was reset a moment before: the packet was under way.
    #[serde(rename = "reset_again")]
    Again,
    /// Data or an ACK came after this side had closed: the keep-alive race.
    AfterClose,
    /// The peer was closing too: its FIN or its TLS alert came after this side had closed the connection.
    PeerClosing,
    /// The application closed the socket with received data unread.
    CloseUnreadData,
    /// The application closed the socket with SO_LINGER and a time-out of 0.
    LingerZero,
    /// The connection waited in the accept queue of a listener that was closed.
    ListenerClosed,
    /// Keep-alive probes went unanswered.
    KeepaliveTimeout,
    /// TCP ran out of memory or orphan slots.
    OutOfMemory,
    /// None of the above, or this kernel does not reveal the cause.
    Other,
}

impl ResetCause {
    /// Every cause, in index order.
    pub const ALL: [Self; 15] = [
        Self::OverflowAbort,
        Self::HandshakeAborted,
        Self::UnknownConnection,
        Self::ExpiredHandshake,
        Self::NoListener,
        Self::NoConnection,
        Self::Again,
        Self::AfterClose,
        Self::PeerClosing,
        Self::CloseUnreadData,
        Self::LingerZero,
        Self::ListenerClosed,
        Self::KeepaliveTimeout,
        Self::OutOfMemory,
        Self::Other,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverflowAbort => "overflow_abort",
            Self::HandshakeAborted => "handshake_aborted",
            Self::UnknownConnection => "unknown_connection",
            Self::ExpiredHandshake => "expired_handshake",
            Self::NoListener => "no_listener",
            Self::NoConnection => "no_connection",
            Self::Again => "reset_again",
            Self::AfterClose => "after_close",
            Self::PeerClosing => "peer_closing",
            Self::CloseUnreadData => "close_unread_data",
            Self::LingerZero => "linger_zero",
            Self::ListenerClosed => "listener_closed",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Other => "other",
        }
    }
}

/// Drop or reset that an event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A SYN or ACK was dropped.
    Drop(DropKind),
    /// A reset was sent.
    Reset(ResetCause),
}

impl What {
    /// Returns `drop` or `reset`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Drop(_) => "drop",
            Self::Reset(_) => "reset",
        }
    }

    /// Returns the cause's label value.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Drop(kind) => kind.cause().as_str(),
            Self::Reset(cause) => cause.as_str(),
        }
    }

    /// Returns the stage's label value; resets have none.
    #[must_use]
    pub const fn stage(self) -> Option<&'static str> {
        match self {
            Self::Drop(kind) => Some(kind.stage().as_str()),
            Self::Reset(_) => None,
        }
    }
}
