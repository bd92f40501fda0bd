//! A daemon's process according to the kernel's `/proc`: memory, CPU time, context switches.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use super::client::Server;

/// Clock ticks per second in /proc: USER_HZ of the kernel's interface.
const TICKS: f64 = 100.0;
const LISTENING: &str = "0A";

/// A process, by its PID.
pub(super) struct Process(u32);

impl Process {
    /// The process with this PID.
    pub(super) const fn numbered(pid: u32) -> Self {
        Self(pid)
    }

    /// Finds the process that listens at the server's port, on this machine and in this namespace.
    pub(super) fn serving(server: &Server) -> Result<Self> {
        let port = format!(":{:04X}", server.address().port());
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let sockets = tables.iter().flat_map(|table| table.lines()).filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (local, state, inode) = (fields.next()?, fields.nth(1)?, fields.nth(5)?);
            (local.ends_with(&port) && state == LISTENING).then(|| format!("socket:[{inode}]"))
        });
        let sockets: Vec<_> = sockets.collect();
        for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let links = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
            let mut links = links.filter_map(|link| fs::read_link(link.path()).ok());
            if links.any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
            {
                return Ok(Self(pid));
            }
        }
        bail!("no process of this machine listens at {}", server.address())
    }

    /// Reads a line of the process's status file, in KiB.
    pub(super) fn kib(&self, line: &str) -> Result<u64> {
        let text = self.read("status")?;
        let kib = text.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok())
            .with_context(|| format!("process {} has no {line}", self.0))
    }

    /// CPU time of all threads, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The second field is the name in parentheses, which may contain anything.
        let (_, rest) = stat.rsplit_once(')').context("a stat file without a name")?;
        let mut fields = rest.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|ticks| ticks.parse::<f64>().ok());
        let (user, system) = ticks().zip(ticks()).context("a stat file without times")?;
        Ok((user + system) / TICKS)
    }

    /// Number of voluntary context switches by thread name: after each, something woke the thread again.
    pub(super) fn switches(&self) -> Result<BTreeMap<String, u64>> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).context("it is gone")?.flatten();
        let mut switches = BTreeMap::new();
        // A thread that has ended meanwhile is left out, because the kernel drops its counters.
        for text in threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()) {
            let line = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let Some((name, number)) = line("Name:").zip(line("voluntary_ctxt_switches:")) else { continue };
            *switches.entry(name.to_owned()).or_default() += number.parse::<u64>().unwrap_or(0);
        }
        Ok(switches)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_by_its_port_and_shows_what_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = Server::parse(&format!("http://127.0.0.1:{port}")).expect("an address");
        let own = Process::serving(&server).expect("it listens");
        assert_eq!(own.0, std::process::id());
        assert!(own.kib("VmRSS:").expect("it has") > 1000 && own.kib("Nonsense:").is_err());
        assert!(own.cpu().expect("it has") >= 0.0);
        let switches = || own.switches().expect("it has").into_values().sum::<u64>();
        let before = switches();
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(switches() > before);
        drop(listener);
        assert!(Process::serving(&server).is_err());
    }
}
