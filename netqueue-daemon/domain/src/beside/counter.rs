//! Kernel counters that netqueue reads and does not attribute to anything.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])+ $counter:ident = $group:literal $name:literal;)+) => {
        /// Counter of a namespace's netstat or snmp file that moves for a reason outside netqueue's accounts.
        ///
        /// Each tells of connections that clients lost or never got without a drop or a reset of this host's
        /// listeners. Retransmits and time-outs of single segments (TCPTimeouts, TCPSynRetrans) are left out:
        /// they move on every healthy host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(usize)]
        pub enum BesideCounter {
            $($(#[$doc])+ #[serde(rename = $name)] $counter,)+
        }

        impl BesideCounter {
            /// Every counter, in the order in which they are reported.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$counter),+];

            /// Returns the name in the kernel's file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$counter => $name,)+
                }
            }

            /// Returns the group, that is the label of the counter's line in the kernel's file.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self {
                    $(Self::$counter => $group,)+
                }
            }
        }
    };
}

counters! {
    /// Connections in ESTABLISHED or CLOSE_WAIT that ended without a FIN.
    EstabResets = "Tcp" "EstabResets";
    /// Connects that failed, and handshakes that the client reset.
    AttemptFails = "Tcp" "AttemptFails";
    /// Connections given up because the peer no longer answered.
    AbortOnTimeout = "TcpExt" "TCPAbortOnTimeout";
    /// Connections reset for want of memory or orphan slots.
    AbortOnMemory = "TcpExt" "TCPAbortOnMemory";
    /// Resets that could not be sent for want of memory.
    AbortFailed = "TcpExt" "TCPAbortFailed";
    /// Packets whose source is not reachable through the interface they came in on.
    ReversePathFilter = "TcpExt" "IPReversePathFilter";
    /// Segments without the MD5 signature that a key demands.
    Md5NotFound = "TcpExt" "TCPMD5NotFound";
    /// Segments with an MD5 signature where no key is set.
    Md5Unexpected = "TcpExt" "TCPMD5Unexpected";
    /// Segments with a wrong MD5 signature.
    Md5Failure = "TcpExt" "TCPMD5Failure";
    /// Segments without the TCP-AO signature that a key demands.
    AoRequired = "TcpExt" "TCPAORequired";
    /// Segments with a wrong TCP-AO signature.
    AoBad = "TcpExt" "TCPAOBad";
    /// Segments with a TCP-AO key that is not configured.
    AoKeyNotFound = "TcpExt" "TCPAOKeyNotFound";
    /// Segments below the socket's minimum TTL.
    MinTtlDrop = "TcpExt" "TCPMinTTLDrop";
    /// SYN-ACKs with an old time stamp.
    PawsActive = "TcpExt" "PAWSActive";
    /// Segments with an old time stamp on established connections.
    PawsEstab = "TcpExt" "PAWSEstab";
    /// Packets with an old time stamp for a connection in TIME_WAIT; since Linux 6.14.
    PawsTimewait = "TcpExt" "PAWSTimewait";
    /// Segments that echo a time stamp never sent; since Linux 6.15.
    TsEcrRejected = "TcpExt" "TSEcrRejected";
    /// Segments beyond the receive window; since Linux 6.15.
    BeyondWindow = "TcpExt" "BeyondWindow";
    /// SYNs on established connections.
    SynChallenge = "TcpExt" "TCPSYNChallenge";
    /// ACKs sent in answer to a segment that does not fit its connection.
    ChallengeAck = "TcpExt" "TCPChallengeACK";
    /// Segments dropped because the backlog of a busy socket was full.
    BacklogDrop = "TcpExt" "TCPBacklogDrop";
    /// Segments dropped because the receive buffer was full.
    RcvQDrop = "TcpExt" "TCPRcvQDrop";
    /// Segments dropped because the receive window was closed.
    ZeroWindowDrop = "TcpExt" "TCPZeroWindowDrop";
    /// Handshakes that no other member of the SO_REUSEPORT group took over; since Linux 5.14.
    MigrateReqFailure = "TcpExt" "TCPMigrateReqFailure";
    /// Final ACKs that a listener with TCP_DEFER_ACCEPT ignored.
    DeferAcceptDrop = "TcpExt" "TCPDeferAcceptDrop";
    /// Bad TCP segments, those with a wrong checksum among them.
    InErrs = "Tcp" "InErrs";
    /// TCP segments with a wrong checksum.
    InCsumErrors = "Tcp" "InCsumErrors";
}

impl fmt::Display for BesideCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Value of each [`BesideCounter`] at one reading; 0 for those that the kernel does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BesideValues([u64; BesideCounter::ALL.len()]);

impl BesideValues {
    /// Parses pairs of lines `Group: name name ..`, `Group: value value ..`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut values = Self::default();
        let mut lines = text.lines();
        while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            let Some((group, names)) = names.split_once(':') else { continue };
            let numbers = numbers.split_once(':').map_or("", |(_, numbers)| numbers);
            let wanted = |name: &str| {
                BesideCounter::ALL.into_iter().find(|one| one.as_str() == name && one.group() == group)
            };
            for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
                if let (Some(counter), Ok(number)) = (wanted(name), number.parse()) {
                    values.0[counter as usize] = number;
                }
            }
        }
        values
    }

    /// Returns the counters that rose since an earlier reading, with how much.
    #[must_use]
    pub fn risen_since(&self, earlier: &Self) -> Vec<(BesideCounter, u64)> {
        let risen = |counter: BesideCounter| {
            let increase = self.0[counter as usize].saturating_sub(earlier.0[counter as usize]);
            (increase > 0).then_some((counter, increase))
        };
        BesideCounter::ALL.into_iter().filter_map(risen).collect()
    }
}
