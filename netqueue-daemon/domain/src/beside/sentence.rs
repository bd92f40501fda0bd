//! Sentences about the counters beside netqueue's own, each with the counter's name.

use super::{BesideCounter, Moved};
use crate::{Counts, KernelCounter, Netns, ResetCause, Snapshot, Timestamp};

/// Movement of one counter in one namespace, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BesideFinding {
    /// Namespace in which the counter moved.
    pub netns: Netns,
    /// Counter that moved.
    pub counter: BesideCounter,
    /// Increase of the counter in the window.
    pub by: u64,
    /// Last reading that showed an increase.
    pub last: Timestamp,
    /// One sentence, without the full stop.
    pub sentence: String,
}

/// Returns what moved beside netqueue's own counters from `from` on, the host's namespace first.
/// Leaves out what netqueue's own counts explain.
#[must_use]
pub fn beside(snapshot: &Snapshot, from: Timestamp) -> Vec<BesideFinding> {
    let mut all: Vec<_> = snapshot.beside.namespaces().collect();
    all.sort_by_key(|netns| (*netns != snapshot.host, *netns));
    all.into_iter().flat_map(|netns| in_namespace(snapshot, netns, from)).collect()
}

fn in_namespace(snapshot: &Snapshot, netns: Netns, from: Timestamp) -> Vec<BesideFinding> {
    let moved = snapshot.beside.moved(netns, from);
    if moved.is_empty() {
        return Vec::new();
    }
    let explained = Explained::of(&moved, &charged(snapshot, netns, from));
    let told = |Moved { counter, by, last }| {
        let sentence = explained.sentence(counter, by)?;
        Some(BesideFinding { netns, counter, by, last, sentence })
    };
    moved.into_iter().filter_map(told).collect()
}

/// Sums what was charged in a namespace from `from` on.
fn charged(snapshot: &Snapshot, netns: Netns, from: Timestamp) -> Counts {
    let mut sum = Counts::default();
    for account in snapshot.accounts.iter().filter(|account| account.key.netns() == netns) {
        if let Some(past) = snapshot.recent.of(&account.key) {
            sum.add(&account.counts.less(past.counts_at(from)));
        }
    }
    sum
}

/// Parts of the counters that netqueue's own counts, or other counters, explain.
struct Explained {
    /// Connections in ESTABLISHED or CLOSE_WAIT that this host ended by a reset, or gave up.
    ended_here: u64,
    /// Handshakes that ended by a reset, which AttemptFails contains.
    embryonic: u64,
    /// Segments with a wrong checksum and SYNs on existing connections, which InErrs contains.
    erroneous: u64,
    /// SYNs on existing connections, each of which a challenge ACK answers.
    challenged: u64,
}

impl Explained {
    fn of(moved: &[Moved], charged: &Counts) -> Self {
        let risen = |counter| moved.iter().find(|moved| moved.counter == counter).map_or(0, |moved| moved.by);
        let sent = charged.resets().filter(|(cause, _)| ends_established(*cause)).map(|(_, resets)| resets);
        Self {
            ended_here: sent.sum::<u64>() + risen(BesideCounter::AbortOnTimeout),
            embryonic: charged.kernel().get(KernelCounter::EmbryonicRsts),
            // tcp_validate_incoming counts a SYN under all three.
            erroneous: risen(BesideCounter::InCsumErrors) + risen(BesideCounter::SynChallenge),
            challenged: risen(BesideCounter::SynChallenge),
        }
    }

    /// Returns the sentence about a counter that rose `by`; `None` if all of it is explained.
    fn sentence(&self, counter: BesideCounter, by: u64) -> Option<String> {
        use BesideCounter as Of;
        let explained = match counter {
            Of::EstabResets => self.ended_here,
            Of::AttemptFails => self.embryonic,
            Of::InErrs => self.erroneous,
            Of::ChallengeAck => self.challenged,
            Of::AbortOnTimeout
            | Of::AbortOnMemory
            | Of::AbortFailed
            | Of::ReversePathFilter
            | Of::Md5NotFound
            | Of::Md5Unexpected
            | Of::Md5Failure
            | Of::AoRequired
            | Of::AoBad
            | Of::AoKeyNotFound
            | Of::MinTtlDrop
            | Of::PawsActive
            | Of::PawsEstab
            | Of::PawsTimewait
            | Of::TsEcrRejected
            | Of::BeyondWindow
            | Of::SynChallenge
            | Of::BacklogDrop
            | Of::RcvQDrop
            | Of::ZeroWindowDrop
            | Of::MigrateReqFailure
            | Of::DeferAcceptDrop
            | Of::InCsumErrors => 0,
        };
        let rest = by.checked_sub(explained).filter(|rest| *rest > 0)?;
        let at_least = if explained > 0 { "at least " } else { "" };
        let (noun, what, more) = words(counter);
        let (plural, was) = if rest == 1 { ("", "was") } else { ("s", "were") };
        Some(format!("{at_least}{rest} {noun}{plural} {was} {what} ({counter}{more})"))
    }
}

/// Returns whether a reset of that cause ends a connection in ESTABLISHED or CLOSE_WAIT, so that
/// EstabResets counts it. Resets for want of an answer are left out, because TCPAbortOnTimeout counts
/// them too.
const fn ends_established(cause: ResetCause) -> bool {
    match cause {
        ResetCause::CloseUnreadData
        | ResetCause::LingerZero
        | ResetCause::ListenerClosed
        | ResetCause::OutOfMemory
        | ResetCause::Other => true,
        ResetCause::OverflowAbort
        | ResetCause::HandshakeAborted
        | ResetCause::UnknownConnection
        | ResetCause::ExpiredHandshake
        | ResetCause::NoListener
        | ResetCause::NoConnection
        | ResetCause::Again
        | ResetCause::AfterClose
        | ResetCause::PeerClosing
        | ResetCause::KeepaliveTimeout => false,
    }
}

/// Returns the noun that a counter counts, what happened to it, and what belongs beside the counter's
/// name.
const fn words(counter: BesideCounter) -> (&'static str, &'static str, &'static str) {
    match counter {
        BesideCounter::EstabResets => ("reset", "received on established connections", ""),
        BesideCounter::AttemptFails => ("outgoing connect", "refused, reset or timed out", ""),
        BesideCounter::AbortOnTimeout => ("connection", "given up because the peer no longer answered", ""),
        BesideCounter::AbortOnMemory => {
            ("connection", "ended for want of TCP memory or orphan slots", "; tcp_mem, tcp_max_orphans")
        }
        BesideCounter::AbortFailed => ("reset", "not sent for want of memory", ""),
        BesideCounter::ReversePathFilter => ("packet", "dropped by the reverse-path filter", "; rp_filter"),
        BesideCounter::Md5NotFound => ("segment", "dropped for want of a TCP MD5 signature", "; TCP_MD5SIG"),
        BesideCounter::Md5Unexpected => {
            ("segment", "dropped for a TCP MD5 signature though no key is set", "; TCP_MD5SIG")
        }
        BesideCounter::Md5Failure => {
            ("segment", "dropped for a wrong TCP MD5 signature", "; TCP_MD5SIG: the keys differ")
        }
        BesideCounter::AoRequired => ("segment", "dropped for want of a TCP-AO signature", ""),
        BesideCounter::AoBad => ("segment", "dropped for a wrong TCP-AO signature", ""),
        BesideCounter::AoKeyNotFound => ("segment", "dropped for a TCP-AO key that is not set", ""),
        BesideCounter::MinTtlDrop => {
            ("segment", "dropped for a TTL below the socket's minimum", "; IP_MINTTL")
        }
        BesideCounter::PawsActive => ("SYN-ACK", "dropped for an old time stamp", ""),
        BesideCounter::PawsEstab => (
            "segment",
            "dropped on established connections for an old time stamp",
            ": late duplicates, or hosts behind one NAT address",
        ),
        BesideCounter::PawsTimewait => ("packet", "dropped in TIME_WAIT for an old time stamp", ""),
        BesideCounter::TsEcrRejected => {
            ("segment", "dropped for echoing a time stamp that was never sent", "")
        }
        BesideCounter::BeyondWindow => ("segment", "dropped for data beyond the receive window", ""),
        BesideCounter::SynChallenge => {
            ("SYN", "received on existing connections", ": the peer has lost its side, or reuses the port")
        }
        BesideCounter::ChallengeAck => {
            ("challenge ACK", "sent", ": segments came that do not fit their connection")
        }
        BesideCounter::BacklogDrop => (
            "segment",
            "dropped while the process held the socket and its buffers were full",
            "; not the listen backlog",
        ),
        BesideCounter::RcvQDrop => {
            ("segment", "dropped because the receive buffer was full", "; tcp_rmem, tcp_mem")
        }
        BesideCounter::ZeroWindowDrop => {
            ("segment", "dropped because the process had not read and the window was closed", "")
        }
        BesideCounter::MigrateReqFailure => {
            ("handshake", "lost when a listener of an SO_REUSEPORT group closed", "; tcp_migrate_req")
        }
        BesideCounter::DeferAcceptDrop => {
            ("final ACK", "set aside until the client sends data", "; TCP_DEFER_ACCEPT")
        }
        BesideCounter::InErrs => ("malformed segment", "dropped", ""),
        BesideCounter::InCsumErrors => ("segment", "dropped for a wrong checksum", ""),
    }
}
