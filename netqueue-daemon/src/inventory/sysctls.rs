//! Sysctls that decide over listeners, as the calling thread's network namespace has them.

use std::{fs, io, path::Path};

use netqueue_domain::{Known, Sysctls, Unknown};

/// Reads the sysctls from a directory like /proc/sys.
/// The kernel shows those of the reading thread's namespace there.
#[must_use]
pub(super) fn read(root: &Path) -> Sysctls {
    let one = |name: &str| value(&root.join("net").join(name));
    Sysctls {
        somaxconn: one("core/somaxconn"),
        max_syn_backlog: one("ipv4/tcp_max_syn_backlog"),
        syncookies: one("ipv4/tcp_syncookies"),
        abort_on_overflow: one("ipv4/tcp_abort_on_overflow"),
        synack_retries: one("ipv4/tcp_synack_retries"),
        fin_timeout: one("ipv4/tcp_fin_timeout"),
        tw_reuse: one("ipv4/tcp_tw_reuse"),
        migrate_req: one("ipv4/tcp_migrate_req"),
    }
}

fn value(file: &Path) -> Known<u32> {
    match fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map_err(|_| Unknown::Unreadable),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unknown::NotInKernel),
        Err(_) => Err(Unknown::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_does_not_have_is_said_so_and_is_not_zero() {
        let directory = tempfile::tempdir().expect("a directory");
        let ipv4 = directory.path().join("net/ipv4");
        fs::create_dir_all(&ipv4).expect("it can be made");
        fs::write(ipv4.join("tcp_syncookies"), "1\n").expect("it can be written");
        fs::write(ipv4.join("tcp_tw_reuse"), "many\n").expect("it can be written");
        let read = read(directory.path());
        assert_eq!(read.syncookies, Ok(1));
        assert_eq!((read.migrate_req, read.tw_reuse), (Err(Unknown::NotInKernel), Err(Unknown::Unreadable)));
    }

    #[test]
    fn this_machine_has_them() {
        assert!(read(Path::new("/proc/sys")).somaxconn.is_ok_and(|most| most > 0));
    }
}
