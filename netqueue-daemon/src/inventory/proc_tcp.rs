//! Listeners as /proc/PID/net/tcp and tcp6 show them.
//!
//! Readable without privilege in any namespace, but without the limits of queues.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use netqueue_domain::{Family, SocketInode, Unknown};

use super::sock_diag::{Seen, v6_family};

/// Reads the listeners from a directory like /proc/PID/net; `why` is the reason sock_diag was not used.
///
/// # Errors
/// The files cannot be read. A kernel without IPv6 has no tcp6, which is no error.
pub(super) fn listeners(directory: &Path, why: Unknown) -> io::Result<Vec<Seen>> {
    let mut seen = parse(&fs::read_to_string(directory.join("tcp"))?, why);
    match fs::read_to_string(directory.join("tcp6")) {
        Ok(text) => seen.extend(parse(&text, why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(seen)
}

fn parse(text: &str, why: Unknown) -> Vec<Seen> {
    text.lines().skip(1).filter_map(|line| one(line, why)).collect()
}

/// Parses `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ..`
fn one(line: &str, why: Unknown) -> Option<Seen> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (addr, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    if state != LISTEN {
        return None;
    }
    let addr = address(addr)?;
    let family = if addr.is_ipv4() { Family::Ipv4 } else { v6_family(addr, None) };
    Some(Seen {
        addr,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: SocketInode(inode),
        cookie: Err(why),
        family,
        interface: None,
        uid,
        queue: Err(why),
    })
}

/// Parses words of 32 bits, each as this machine would read it from network order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000002 00:00000000 00000000    33        0 18231 1 0000000000000000 100 0 0 10 0
   1: 0100007F:278C 0100007F:D1F2 01 00000000:00000000 00:00000000 00000000     0        0 19000 1 0000000000000000 20 4 30 10 -1
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15000 1 0000000000000000 100 0 0 10 0
";

    #[test]
    fn listeners_are_told_from_connections() {
        let seen = parse(TCP, Unknown::NoSockDiag);
        let [web] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((web.addr, web.port), (Ipv4Addr::UNSPECIFIED.into(), 80));
        assert_eq!((web.inode, web.uid), (SocketInode(18231), 33));
        assert_eq!(web.queue, Err(Unknown::NoSockDiag), "no limit is known, and none is made up");
    }

    #[test]
    fn ipv6_addresses_are_four_words() {
        let seen = parse(TCP6, Unknown::NoSockDiag);
        assert_eq!((seen[0].addr, seen[0].family), (Ipv6Addr::LOCALHOST.into(), Family::Ipv6));
    }

    #[test]
    fn lines_that_break_off_are_no_listeners() {
        let cut = TCP.lines().nth(1).expect("a line");
        for end in 0..cut.len() {
            assert!(one(&cut[..end], Unknown::NoSockDiag).is_none_or(|seen| seen.port == 80));
        }
    }

    #[test]
    fn this_machines_files_are_understood() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("it is bound");
        let seen = listeners(Path::new("/proc/self/net"), Unknown::NoSockDiag).expect("readable");
        assert!(seen.iter().any(|seen| seen.port == at.port() && seen.addr == at.ip()));
    }
}
