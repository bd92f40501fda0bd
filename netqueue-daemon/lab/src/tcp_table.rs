//! The TCP sockets of the calling thread's network namespace, from `/proc/net/tcp` and `tcp6`.
//! Lists both ends of a loopback connection in the kernel's states, independent of any counter.

use std::fs;

use anyhow::{Context, Result};

const TABLE: &str = "/proc/thread-self/net/tcp";
const TABLE_V6: &str = "/proc/thread-self/net/tcp6";

/// A TCP state, by its number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Listen = 10,
}

/// Number of sockets in one state, at either end of a listener's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub servers: usize,
    pub clients: usize,
}

/// One reading of the table.
pub(super) struct TcpTable(String);

impl TcpTable {
    /// Reads the table.
    pub(super) fn read() -> Result<Self> {
        let mut table = fs::read_to_string(TABLE).with_context(|| format!("cannot read {TABLE}"))?;
        // A kernel without IPv6 has no such table.
        table += &fs::read_to_string(TABLE_V6).unwrap_or_default();
        Ok(Self(table))
    }

    /// Counts the sockets of `port` that are in `state`.
    pub(super) fn count(&self, port: u16, state: State) -> Ends {
        let mut ends = Ends::default();
        for socket in self.0.lines().filter_map(Socket::parse) {
            if socket.state == state as u8 {
                ends.servers += usize::from(socket.local_port == port);
                ends.clients += usize::from(socket.remote_port == port);
            }
        }
        ends
    }
}

struct Socket {
    local_port: u16,
    remote_port: u16,
    state: u8,
}

impl Socket {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local_port = port(words.next()?)?;
        let remote_port = port(words.next()?)?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        Some(Self { local_port, remote_port, state })
    }
}

fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_end_is_counted_in_its_own_state() {
        let table = TcpTable(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 00000000:1F4A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21 1 0 100 0 0 10 0\n   \
             1: 0100007F:1F4A 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 0 0 10 -1\n   \
             2: 0100007F:9C40 0100007F:1F4A 01 00000000:00000000 00:00000000 00000000     0        0 22 1 0 20 0 0 10 -1\n   \
             3: 0100007F:9C41 0100007F:1F4A 01 00000000:00000000 00:00000000 00000000     0        0 23 1 0 20 0 0 10 -1\n   \
             4: 0100007F:1F4A 0109090A:4E20 03 00000000:00000000 01:00000063 00000001     0        0 0 1 0\n"
                .to_owned(),
        );
        assert_eq!(table.count(8010, State::Established), Ends { servers: 1, clients: 2 });
        assert_eq!(table.count(8010, State::SynReceived), Ends { servers: 1, clients: 0 });
        assert_eq!(table.count(8010, State::SynSent), Ends::default());
        assert_eq!(table.count(8011, State::Established), Ends::default());
    }
}
