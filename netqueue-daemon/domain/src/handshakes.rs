//! Outcomes of handshakes whose final ACK was dropped.

use serde::{Deserialize, Serialize};

/// Handshakes of one listener whose final ACK was dropped. Each counts once, however often the client
/// repeats the ACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handshakes {
    /// Handshakes whose request the listener kept: a later ACK can still complete them.
    pub suspended: u64,
    /// Suspended handshakes that a later ACK completed.
    pub recovered: u64,
    /// Suspended handshakes that a reset of the listener ended while it still had the request.
    pub ended: u64,
    /// Suspended handshakes that a reset of the client ended.
    pub given_up: u64,
    /// Suspended handshakes that the listener gave up when its SYN-ACKs were used up.
    pub timed_out: u64,
    /// Timed-out handshakes whose client sent something later and was answered with a reset.
    pub expired: u64,
    /// Handshakes by SYN cookie: the client believes it is connected, the listener keeps no state. Nothing
    /// will be retried.
    pub ghosts: u64,
    /// Ghosts that sent something and were admitted.
    pub ghosts_recovered: u64,
    /// Ghosts that sent something and were answered with a reset.
    pub ghosts_ended: u64,
    /// Ghosts that gave up with a reset.
    pub ghosts_given_up: u64,
}

impl Handshakes {
    /// Returns the suspended handshakes without an outcome: still under way, or forgotten.
    #[must_use]
    pub const fn unresolved(&self) -> u64 {
        let heard_of = self.recovered + self.ended + self.given_up + self.timed_out;
        self.suspended.saturating_sub(heard_of)
    }

    /// Returns the clients that believe they are connected and of which the listener has no state.
    #[must_use]
    pub const fn live_ghosts(&self) -> u64 {
        let heard_of = self.ghosts_recovered + self.ghosts_ended + self.ghosts_given_up;
        self.ghosts.saturating_sub(heard_of)
    }

    /// Subtracts `part`, an earlier state of these counts.
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

    /// Adds another account's counts.
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
