//! Reads how near the machine is to its limits on TCP memory and on orphans.

use std::{fs, path::Path, time::Duration};

use netqueue_domain::{TcpMemory, Timestamp};

/// Period after which peaks begin anew; a peak is remembered for once or twice as long.
const PERIOD: Duration = Duration::from_secs(10 * 60);

/// Peaks of the use of both limits.
#[derive(Debug, Default)]
pub struct TcpMemoryWatch {
    begun: Option<Timestamp>,
    /// Peaks of orphans and pages, in this period and in the one before.
    peaks: [[u64; 2]; 2],
}

impl TcpMemoryWatch {
    /// Reads the use and the limits below a directory like /proc.
    /// `None` if they cannot be read: only the first network namespace shows the limits.
    pub fn look(&mut self, proc: &Path, now: Timestamp) -> Option<TcpMemory> {
        let text = |file: &str| fs::read_to_string(proc.join(file)).ok();
        let [orphans, pages] = used(&text("net/sockstat")?)?;
        let max_orphans = text("sys/net/ipv4/tcp_max_orphans")?.trim().parse().ok()?;
        let max_pages = text("sys/net/ipv4/tcp_mem")?.split_whitespace().nth(2)?.parse().ok()?;
        if self.begun.is_none_or(|begun| now.since(begun) >= PERIOD) {
            self.begun = Some(now);
            self.peaks = [[0; 2], self.peaks[0]];
        }
        for (peak, used) in self.peaks[0].iter_mut().zip([orphans, pages]) {
            *peak = (*peak).max(used);
        }
        let [orphans, pages] = [0, 1].map(|which| self.peaks[0][which].max(self.peaks[1][which]));
        Some(TcpMemory { orphans, max_orphans, pages, max_pages })
    }
}

/// Returns the orphans and the pages of the line TCP (net/ipv4/proc.c `sockstat_seq_show`).
fn used(sockstat: &str) -> Option<[u64; 2]> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let words: Vec<_> = line.split_whitespace().collect();
    let value = |name| words.chunks_exact(2).find(|pair| pair[0] == name)?[1].parse().ok();
    Some([value("orphan")?, value("mem")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_peak_is_remembered_for_ten_to_twenty_minutes() {
        let proc = tempfile::tempdir().expect("a directory");
        let write = |file: &str, text: &str| {
            let file = proc.path().join(file);
            fs::create_dir_all(file.parent().expect("a directory")).expect("it can be made");
            fs::write(file, text).expect("it can be written");
        };
        write("sys/net/ipv4/tcp_max_orphans", "4096\n");
        write("sys/net/ipv4/tcp_mem", "11229\t14972\t22458\n");
        let mut watch = TcpMemoryWatch::default();
        let mut look = |orphans: u64, seconds| {
            write(
                "net/sockstat",
                &format!("sockets: used 9\nTCP: inuse 5 orphan {orphans} tw 0 alloc 8 mem 2\n"),
            );
            watch.look(proc.path(), at(seconds)).map(|seen| seen.orphans)
        };
        assert_eq!(
            [look(7, 1), look(3, 30), look(2, 700), look(1, 1400)],
            [Some(7), Some(7), Some(7), Some(2)]
        );
        write("net/sockstat", "sockets: used 9\n");
        assert_eq!(watch.look(proc.path(), at(1401)), None);
    }

    #[test]
    fn this_machine_shows_its_use() {
        let text = fs::read_to_string("/proc/net/sockstat").expect("it can be read");
        assert!(used(&text).is_some(), "{text}");
    }
}
