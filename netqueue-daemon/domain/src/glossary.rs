//! Explanations of the causes in plain words, for the command line, `netqueue top` and the web page.

use super::{DropKind, ResetCause, What};

/// Explanation of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Drop or reset that the entry explains.
    pub what: What,
    /// Headline.
    pub title: &'static str,
    /// Explanation of what happened, and what the client notices.
    pub meaning: &'static str,
    /// Likely reasons, and settings to check.
    pub look: &'static str,
}

/// Iterates over every cause: the drops, then the resets.
pub fn entries() -> impl Iterator<Item = Entry> {
    DropKind::ALL.into_iter().map(What::Drop).chain(ResetCause::ALL.into_iter().map(What::Reset)).map(explain)
}

/// Finds the entry of a cause by the names that surfaces use. Resets have no stage.
#[must_use]
pub fn find(kind: &str, cause: &str, stage: Option<&str>) -> Option<Entry> {
    entries()
        .find(|entry| entry.what.kind() == kind && entry.what.cause() == cause && entry.what.stage() == stage)
}

/// Returns the explanation of a drop or reset.
#[must_use]
pub const fn explain(what: What) -> Entry {
    let (title, meaning, look) = match what {
        What::Drop(kind) => drop_words(kind),
        What::Reset(cause) => reset_words(cause),
    };
    Entry { what, title, meaning, look }
}

const fn drop_words(kind: DropKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        DropKind::AcceptQueueFullSyn => (
            "Accept queue full at the SYN",
            "A new client's first packet was dropped because too many connections already wait for accept(). The \
             client tries again after a second or more: a slow connect, or a time-out. It is not reset.",
            "The process accepts too slowly, or a burst was larger than the backlog.",
        ),
        DropKind::AcceptQueueFullAck => (
            "Accept queue full at the final ACK",
            "The last step of a handshake was dropped because too many connections already wait for accept(). The \
             client believes it is connected; its data waits until a repeated ACK gets in, or is answered with a reset.",
            "The process accepts too slowly, or a burst was larger than the backlog.",
        ),
        DropKind::AcceptQueueFullCookieAck => (
            "Accept queue full at a cookie's ACK",
            "The last step of a handshake by SYN cookie was dropped because too many connections already wait for \
             accept(). The client believes it is connected, the listener remembers nothing of it.",
            "The process accepts too slowly, or a burst was larger than the backlog. Clients that wait to be greeted \
             hang until they give up.",
        ),
        DropKind::SynQueueFull => (
            "SYN queue full",
            "A new client's first packet was dropped because too many handshakes are under way and SYN cookies are \
             off. The client tries again after a second or more.",
            "A SYN flood, clients that do not answer, or a backlog that is too small: net.ipv4.tcp_syncookies, and the \
             listen() backlog.",
        ),
        DropKind::SynBacklogReserve => (
            "SYN backlog reserve",
            "A new client's first packet was dropped because SYN cookies are off and the last quarter of \
             tcp_max_syn_backlog is kept for peers proven by an earlier connection.",
            "net.ipv4.tcp_syncookies and net.ipv4.tcp_max_syn_backlog.",
        ),
        DropKind::OtherSyn => (
            "Other, at the SYN",
            "A new client's first packet was dropped for another reason than a full queue.",
            "No route back to the client, no memory, a security module, or a setting of the packet itself.",
        ),
        DropKind::OtherAck => (
            "Other, at the final ACK",
            "The last step of a handshake was dropped for another reason than a full queue.",
            "No route back to the client, no memory, no local port, or a security module.",
        ),
        DropKind::OtherCookieAck => (
            "Other, at a cookie's ACK",
            "The last step of a handshake by SYN cookie was dropped for another reason than a full queue.",
            "No route back to the client, no memory, no local port, or a security module.",
        ),
    }
}

const fn reset_words(cause: ResetCause) -> (&'static str, &'static str, &'static str) {
    match cause {
        ResetCause::OverflowAbort => (
            "Accept queue full, client reset",
            "The last step of a handshake found the accept queue full, and tcp_abort_on_overflow is on: the client \
             reads \"connection reset by peer\" at once.",
            "The process accepts too slowly, or a burst was larger than the backlog. The setting only makes it visible.",
        ),
        ResetCause::HandshakeAborted => (
            "Handshake aborted",
            "A packet that does not fit its handshake ended it.",
            "Broken clients, scanners, or a middlebox that rewrites sequence numbers.",
        ),
        ResetCause::UnknownConnection => (
            "Unknown connection",
            "A packet reached a listener that knows nothing of its connection.",
            "Connections from before a restart, load balancers that moved a flow, forged packets.",
        ),
        ResetCause::ExpiredHandshake => (
            "Late packet of an overflowed handshake",
            "A client sent data whose final ACK had been dropped by a full accept queue; the listener had given its \
             handshake up since. The client reads \"connection reset by peer\" long after it connected.",
            "The overflow that came before: the process accepts too slowly, or a burst was larger than the backlog.",
        ),
        ResetCause::NoListener => (
            "Nobody listens",
            "A SYN came for a port on which nothing listens: \"connection refused\".",
            "A service that is down or bound to another address; a port scan.",
        ),
        ResetCause::NoConnection => (
            "No such connection",
            "A packet other than a SYN belongs to no connection here, and nothing listens on its port.",
            "A process that ended while clients were connected; a load balancer or NAT that moved or forgot the flow; \
             packets that conntrack calls INVALID.",
        ),
        ResetCause::Again => (
            "Reset again",
            "A packet that was under way when its connection was reset: the client learns nothing new.",
            "The cause of the first reset of that connection.",
        ),
        ResetCause::AfterClose => (
            "Data after close",
            "A packet came after this side had closed the connection.",
            "A keep-alive race, an early answer, a reload. It is not a queue problem.",
        ),
        ResetCause::PeerClosing => (
            "Peer was closing too",
            "A FIN, or a TLS close_notify, came after this side had closed the connection, or stayed unread when it did.",
            "Every HTTPS server that closes first, and pools that close idle connections late. Nobody is harmed.",
        ),
        ResetCause::CloseUnreadData => (
            "Closed with unread data",
            "The application closed a socket that held data it had not read.",
            "A server that answers or gives up before it has read the request: limits, time-outs, crashes.",
        ),
        ResetCause::LingerZero => (
            "Closed by SO_LINGER 0",
            "The application asked for a reset instead of an orderly close.",
            "Deliberate: load generators, health checks, and proxies that abort.",
        ),
        ResetCause::ListenerClosed => (
            "Listener closed",
            "The connection waited in the accept queue of a listener that was closed.",
            "A restart or reload that closes the listening socket: hand it over, or drain it first.",
        ),
        ResetCause::KeepaliveTimeout => (
            "Keep-alive unanswered",
            "TCP keep-alive probes went unanswered.",
            "The peer is gone, or a firewall between has forgotten the connection.",
        ),
        ResetCause::OutOfMemory => (
            "Out of memory",
            "TCP ran out of memory or of places for orphaned sockets.",
            "net.ipv4.tcp_mem and net.ipv4.tcp_max_orphans.",
        ),
        ResetCause::Other => (
            "Other",
            "A reset for none of the reasons netqueue tells apart, or this kernel does not tell.",
            "The kernel's own reason stands beside the event, where it has one.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_found_by_the_words_surfaces_use() {
        for entry in entries() {
            let found = find(entry.what.kind(), entry.what.cause(), entry.what.stage());
            assert_eq!(found, Some(entry));
        }
        assert_eq!(entries().count(), DropKind::ALL.len() + ResetCause::ALL.len());
        assert_eq!(find("drop", "accept_queue_full", None), None);
    }

    #[test]
    fn explanations_are_sentences_and_headlines_are_not() {
        for Entry { title, meaning, look, .. } in entries() {
            assert!(!title.ends_with('.') && title.len() <= 40, "{title}");
            assert!(meaning.ends_with('.') && look.ends_with('.'), "{title}");
        }
    }
}
