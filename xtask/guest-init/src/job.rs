//! The job file: the steps of PID 1 after set-up, one per line, words separated by tabs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Path of the job file in the guest.
pub const FILE: &str = "/job";

/// Path of the file in which PID 1 leaves the steps for its successor's service.
pub const REST: &str = "/job.rest";

/// One step. The first that fails ends the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `network ADDRESS PREFIX GATEWAY`: gives the guest's card an address and a default route.
    Network {
        /// The guest's address.
        address: Ipv4Addr,
        /// Length of the network's prefix.
        prefix: u8,
        /// Address of the default route's gateway.
        gateway: Ipv4Addr,
    },
    /// `hand-over WORD...`: makes another program PID 1.
    /// A service of that program (systemd's) carries out the steps that follow.
    HandOver {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// `daemon WORD...`: starts a program that stays until `stop`.
    Daemon {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// `ready ADDRESS PATH SECONDS`: waits until a GET answers 200.
    Ready {
        /// Address that the request goes to.
        address: SocketAddr,
        /// Path of the request.
        path: String,
        /// Time limit.
        within: Duration,
    },
    /// `wait SECONDS`: waits.
    Wait {
        /// Duration of the wait.
        time: Duration,
    },
    /// `run WORD...`: runs a program, which must exit with 0.
    Run {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// `get ADDRESS PATH`: prints the answer to a GET, which must be 200.
    Get {
        /// Address that the request goes to.
        address: SocketAddr,
        /// Path of the request.
        path: String,
    },
    /// `send FILE`: hands a file over to the host, which the console carries as text.
    Send {
        /// Path of the file in the guest.
        file: String,
    },
    /// `stop SECONDS`: sends SIGTERM to the daemon, which must exit with 0 in time.
    Stop {
        /// Time limit.
        within: Duration,
    },
}

/// Returns the text of a job file with these steps.
#[must_use]
pub fn write(steps: &[Step]) -> String {
    steps.iter().map(|step| words(step).join("\t") + "\n").collect()
}

/// Parses the text of a job file.
///
/// # Errors
///
/// Names the line that cannot be understood.
pub fn read(text: &str) -> Result<Vec<Step>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| step(line).with_context(|| format!("{FILE}: cannot understand {line:?}"))).collect()
}

fn words(step: &Step) -> Vec<String> {
    let command =
        |name: &str, argv: &[String]| std::iter::once(name.to_owned()).chain(argv.iter().cloned()).collect();
    match step {
        Step::Network { address, prefix, gateway } => {
            vec!["network".to_owned(), address.to_string(), prefix.to_string(), gateway.to_string()]
        }
        Step::HandOver { argv } => command("hand-over", argv),
        Step::Daemon { argv } => command("daemon", argv),
        Step::Ready { address, path, within } => {
            vec!["ready".to_owned(), address.to_string(), path.clone(), within.as_secs().to_string()]
        }
        Step::Wait { time } => vec!["wait".to_owned(), time.as_secs().to_string()],
        Step::Run { argv } => command("run", argv),
        Step::Get { address, path } => vec!["get".to_owned(), address.to_string(), path.clone()],
        Step::Send { file } => vec!["send".to_owned(), file.clone()],
        Step::Stop { within } => vec!["stop".to_owned(), within.as_secs().to_string()],
    }
}

fn step(line: &str) -> Result<Step> {
    let words: Vec<&str> = line.split('\t').collect();
    Ok(match words.as_slice() {
        ["network", address, prefix, gateway] => {
            Step::Network { address: address.parse()?, prefix: prefix.parse()?, gateway: gateway.parse()? }
        }
        ["hand-over", argv @ ..] if !argv.is_empty() => Step::HandOver { argv: owned(argv) },
        ["daemon", argv @ ..] if !argv.is_empty() => Step::Daemon { argv: owned(argv) },
        ["ready", address, path, within] => {
            Step::Ready { address: address.parse()?, path: (*path).to_owned(), within: seconds(within)? }
        }
        ["wait", time] => Step::Wait { time: seconds(time)? },
        ["run", argv @ ..] if !argv.is_empty() => Step::Run { argv: owned(argv) },
        ["get", address, path] => Step::Get { address: address.parse()?, path: (*path).to_owned() },
        ["send", file] => Step::Send { file: (*file).to_owned() },
        ["stop", within] => Step::Stop { within: seconds(within)? },
        _ => bail!(
            "it is none of network, hand-over, daemon, ready, wait, run, get, send, stop with the words they take"
        ),
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn seconds(word: &str) -> Result<Duration> {
    Ok(Duration::from_secs(word.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reads_back_as_it_was_written() {
        let address = SocketAddr::from(([127, 0, 0, 1], 10124));
        let argv = vec!["/bin/netqueue".to_owned(), "two words".to_owned()];
        let job = [
            Step::Network {
                address: Ipv4Addr::new(10, 0, 2, 15),
                prefix: 24,
                gateway: Ipv4Addr::new(10, 0, 2, 2),
            },
            Step::HandOver { argv: vec!["/sbin/init".to_owned()] },
            Step::Daemon { argv: argv.clone() },
            Step::Ready { address, path: "/-/ready".to_owned(), within: Duration::from_secs(10) },
            Step::Wait { time: Duration::from_secs(3) },
            Step::Run { argv },
            Step::Get { address, path: "/api/v1/status".to_owned() },
            Step::Send { file: "/case.nqr".to_owned() },
            Step::Stop { within: Duration::from_secs(5) },
        ];
        assert_eq!(read(&write(&job)).unwrap(), job);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        let error = read("run\t/bin/true\nfly\tnow\n").unwrap_err().to_string();
        assert!(error.contains("fly"), "{error}");
    }
}
