//! The machine's limits on TCP, beyond which the kernel resets connections to make room.

use serde::{Deserialize, Serialize};

/// Use of the two limits that `tcp_check_oom` compares (net/ipv4/tcp.c); both are the whole machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpMemory {
    /// Highest number of orphans in the last minutes: connections that no process holds any more.
    pub orphans: u64,
    /// net.ipv4.tcp_max_orphans.
    pub max_orphans: u64,
    /// Highest number of pages in use in the last minutes.
    pub pages: u64,
    /// Highest of the three values of net.ipv4.tcp_mem, in pages.
    pub max_pages: u64,
}

/// One of the two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpLimit {
    /// net.ipv4.tcp_max_orphans.
    Orphans,
    /// net.ipv4.tcp_mem.
    Pages,
}

impl TcpMemory {
    /// Returns the limit that was reached; `None` if neither was, or both were.
    #[must_use]
    pub const fn reached(&self) -> Option<TcpLimit> {
        // The kernel counts the orphans up to four times (the shift of tcp_too_many_orphans) while a peer does
        // not answer. What is read once in a second may miss the highest use of memory.
        let orphans = self.orphans.saturating_mul(4) > self.max_orphans;
        let pages = self.pages.saturating_mul(10) > self.max_pages.saturating_mul(9);
        match (orphans, pages) {
            (true, false) => Some(TcpLimit::Orphans),
            (false, true) => Some(TcpLimit::Pages),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_orphans_is_enough_and_of_the_pages_nearly_all_are_needed() {
        let reached =
            |orphans, pages| TcpMemory { orphans, max_orphans: 1000, pages, max_pages: 100_000 }.reached();
        assert_eq!(reached(251, 10), Some(TcpLimit::Orphans));
        assert_eq!(reached(250, 95_000), Some(TcpLimit::Pages));
        assert_eq!(reached(250, 90_000), None);
        assert_eq!(reached(300, 95_000), None, "either may have been the reason");
    }
}
