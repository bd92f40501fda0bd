//! Compares listeners as `ss` of iproute2 lists them with netqueue's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, Result};

use super::programs;
use netqueue_api::Listener;

/// Listeners of `ss` or netqueue, by the inode numbers of their sockets.
pub(super) type Table = BTreeMap<u64, Socket>;

/// One listener, with the properties that both report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub addr: IpAddr,
    pub port: u16,
    /// The limit of the accept queue.
    pub backlog: u32,
    /// The PIDs and names of its processes.
    pub owners: BTreeSet<(u32, String)>,
}

impl fmt::Display for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} port {} backlog {} held by", self.addr, self.port, self.backlog)?;
        self.owners.iter().try_for_each(|(pid, name)| write!(formatter, " {name}({pid})"))
    }
}

/// Reads the listeners of the calling thread's namespace from `ss`.
pub(super) fn listeners() -> Result<Table> {
    let lines = programs::output("ss", &["-H", "-l", "-n", "-t", "-p", "-e"])?;
    lines.lines().map(|line| parse(line).with_context(|| format!("cannot understand ss: {line:?}"))).collect()
}

/// Parses `LISTEN 0 511 127.0.0.1:80 0.0.0.0:* users:(("nginx",pid=7,fd=6)) ino:1234 sk:1 ...`
fn parse(line: &str) -> Option<(u64, Socket)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_state, _queued, backlog, local, ..] = words.as_slice() else { return None };
    let (addr, port) = local.rsplit_once(':')?;
    let addr = match addr.trim_start_matches('[').trim_end_matches(']') {
        "*" => "::",
        addr => addr.split_once('%').map_or(addr, |(addr, _interface)| addr),
    };
    let after = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    // Only the list of processes may contain blanks.
    let users = line
        .split_once("users:(")
        .map_or("", |(_, rest)| rest.split_once("))").map_or("", |(users, _)| users));
    let owners = users.split("(\"").skip(1).filter_map(|user| {
        let (name, rest) = user.split_once("\",pid=")?;
        Some((rest.split_once(',')?.0.parse().ok()?, name.to_owned()))
    });
    let socket = Socket {
        addr: addr.parse().ok()?,
        port: port.parse().ok()?,
        backlog: backlog.parse().ok()?,
        owners: owners.collect(),
    };
    Some((after("ino:")?.parse().ok()?, socket))
}

/// Extracts the open listeners from netqueue's rows of a namespace.
pub(super) fn of_netqueue(rows: &[Listener]) -> Table {
    let open = rows.iter().filter_map(|row| {
        let details = row.listener.as_ref().filter(|details| details.closed.is_none())?;
        let socket = Socket {
            addr: row.addr?,
            port: row.port?,
            backlog: details.limit.backlog?,
            owners: details.living_owners(),
        };
        Some((details.inode, socket))
    });
    open.collect()
}

/// Describes the differences between the two.
pub(super) fn differences(ss: &Table, netqueue: &Table) -> Vec<String> {
    let said = |socket: Option<&Socket>| socket.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let inodes: BTreeSet<_> = ss.keys().chain(netqueue.keys()).collect();
    let differ = inodes.into_iter().filter(|inode| ss.get(inode) != netqueue.get(inode));
    differ
        .map(|inode| {
            format!("socket {inode}: ss says {}, netqueue {}", said(ss.get(inode)), said(netqueue.get(inode)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "LISTEN 0      511        127.0.0.1:8090  0.0.0.0:*    users:((\"nginx\",pid=12,fd=6),(\"my server\",pid=11,fd=6)) \
                        ino:15934 sk:1001 cgroup:/ <->";

    #[test]
    fn a_line_of_ss_says_where_how_long_and_whose() {
        let (inode, socket) = parse(LINE).unwrap();
        assert_eq!((inode, socket.port, socket.backlog), (15934, 8090, 511));
        assert_eq!(socket.owners, BTreeSet::from([(11, "my server".to_owned()), (12, "nginx".to_owned())]));
        let (_, wild) = parse("LISTEN 0 128 *:22 *:* ino:7 sk:2 v6only:0 <->").unwrap();
        assert_eq!(wild.addr, IpAddr::from([0_u16; 8]));
        assert!(wild.owners.is_empty());
    }

    #[test]
    fn a_listener_only_one_of_them_has_or_has_otherwise_is_a_difference() {
        let (inode, socket) = parse(LINE).unwrap();
        let ss = Table::from([(inode, socket.clone())]);
        assert!(differences(&ss, &ss).is_empty());
        assert_eq!(differences(&ss, &Table::new()).len(), 1);
        let other = Table::from([(inode, Socket { backlog: 128, ..socket })]);
        assert!(differences(&ss, &other)[0].contains("backlog 128"));
    }
}
