//! What became of handshakes whose final ACK was dropped.

use serde::{Deserialize, Serialize};

/// Handshakes of one listener whose final ACK was dropped, each counted once, however often the client repeated it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handshakes {
    /// The listener kept the request: a later ACK can still complete it.
    pub suspended: u64,
    /// Of these: completed by a later ACK.
    pub recovered: u64,
    /// Of these: ended by a reset of the listener's while it still had the request.
    pub ended: u64,
    /// Of these: ended by a reset of the client's.
    pub given_up: u64,
    /// Of these: given up by the listener, its SYN-ACKs being used up.
    pub timed_out: u64,
    /// Of those timed out: spoke later, and were answered with a reset.
    pub expired: u64,
    /// It was a cookie's ACK: the client believes it is connected, the listener keeps nothing, nothing will be retried.
    pub ghosts: u64,
    /// Of these: spoke, and were let in.
    pub ghosts_recovered: u64,
    /// Of these: spoke, and were answered with a reset.
    pub ghosts_ended: u64,
    /// Of these: gave up, with a reset.
    pub ghosts_given_up: u64,
}

impl Handshakes {
    /// Suspended ones that have no outcome: still under way, or forgotten.
    #[must_use]
    pub const fn unresolved(&self) -> u64 {
        let heard_of = self.recovered + self.ended + self.given_up + self.timed_out;
        self.suspended.saturating_sub(heard_of)
    }

    /// Clients that believe they are connected and of which the listener knows nothing.
    #[must_use]
    pub const fn live_ghosts(&self) -> u64 {
        let heard_of = self.ghosts_recovered + self.ghosts_ended + self.ghosts_given_up;
        self.ghosts.saturating_sub(heard_of)
    }

    /// These without `part`, an earlier state of the same ones.
    #[must_use]
    pub const fn less(&self, part: &Self) -> Self {
        Self {
            suspended: self.suspended.saturating_sub(part.suspended),
            recovered: self.recovered.saturating_sub(part.recovered),
            ended: self.ended.saturating_sub(part.ended),
            given_up: self.given_up.saturating_sub(part.given_up),
            timed_out: self.timed_out.saturating_sub(part.timed_out),
            expired: self.expired.saturating_sub(part.expired),
            ghosts: self.ghosts.saturating_sub(part.ghosts),
            ghosts_recovered: self.ghosts_recovered.saturating_sub(part.ghosts_recovered),
            ghosts_ended: self.ghosts_ended.saturating_sub(part.ghosts_ended),
            ghosts_given_up: self.ghosts_given_up.saturating_sub(part.ghosts_given_up),
        }
    }

    /// Adds another account's.
    pub const fn add(&mut self, other: &Self) {
        self.suspended += other.suspended;
        self.recovered += other.recovered;
        self.ended += other.ended;
        self.given_up += other.given_up;
        self.timed_out += other.timed_out;
        self.expired += other.expired;
        self.ghosts += other.ghosts;
        self.ghosts_recovered += other.ghosts_recovered;
        self.ghosts_ended += other.ghosts_ended;
        self.ghosts_given_up += other.ghosts_given_up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_that_speaks_is_a_ghost_no_more() {
        let seen = Handshakes { ghosts: 241, ghosts_recovered: 40, ghosts_ended: 1, ..Handshakes::default() };
        assert_eq!(seen.live_ghosts(), 200);
        assert_eq!(Handshakes { ghosts_given_up: 150, ..seen }.live_ghosts(), 50);
    }

    #[test]
    fn what_is_heard_of_before_its_drop_was_counted_is_not_a_negative_number() {
        let seen = Handshakes { suspended: 3, recovered: 2, ended: 1, expired: 1, ..Handshakes::default() };
        assert_eq!(seen.unresolved(), 0);
    }
}
