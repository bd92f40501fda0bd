//! `netqueue lab case`: re-enacts a public report beside a daemon and records what that observes.
//! The right answer stands in the case's folder below `netqueue-daemon/tests/cases/`.

mod bursts;
mod closed;
mod harmless;
mod queues;
mod resets;
mod server;
mod site;
mod stalls;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::Server;
use super::{counters, diagnosis, observation, sockets};
use site::Site;

pub(super) use server::{Serve, serve};

/// Sockets and processes that must live until the recording ends.
type Held = Vec<Box<dyn Send>>;

/// A case: its name, and how its incident is provoked.
struct Case {
    name: &'static str,
    provoke: fn(&Site) -> Result<Held>,
}

/// Every case, by family.
const FAMILIES: [&[Case]; 6] =
    [queues::CASES, bursts::CASES, stalls::CASES, resets::CASES, closed::CASES, harmless::CASES];

/// Time for netqueue to read counters, listeners and owners once more after the incident.
const SETTLED: Duration = Duration::from_millis(2500);

/// The arguments of `netqueue lab case`.
#[derive(Debug, Args)]
pub(super) struct CaseArgs {
    /// Name of the case, that of its folder
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// The recording to write; without it the case is only provoked, and the kernel's counts are printed
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The URL of the netqueue daemon, which should have observed nothing else
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10124")]
    server: String,
    /// Lists the cases
    #[arg(long)]
    list: bool,
}

/// Runs `netqueue lab case`.
pub(super) fn run(args: &CaseArgs) -> Result<ExitCode> {
    let Some(name) = &args.name else {
        FAMILIES.iter().flat_map(|family| family.iter()).for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    };
    let mut cases = FAMILIES.iter().flat_map(|family| family.iter());
    let Some(case) = cases.find(|case| case.name == name) else {
        bail!("no case is called {name}; `netqueue lab case --list` shows their names")
    };
    sockets::raise_descriptor_limit()?;
    match &args.record {
        Some(file) => record(case, file, &args.server)?,
        None => {
            let site = Site::create()?;
            let _held = provoke(case, &site)?;
            for (whose, netns) in [("servers", &site.servers), ("clients", &site.clients)] {
                let counted = counters::by_name(&netns.counters()?);
                let moved: Vec<_> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
                println!("{name}, namespace of the {whose}: {moved:?}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn provoke(case: &Case, site: &Site) -> Result<Held> {
    (case.provoke)(site).with_context(|| format!("cannot provoke {}", case.name))
}

/// Provokes the case beside the daemon, writes what that observes, and prints its verdicts.
fn record(case: &Case, file: &Path, url: &str) -> Result<()> {
    let server = Server::parse(url)?;
    observation::greet(&server)?;
    let mut recorder = Recorder::start(file, url)?;
    let since = SystemTime::now();
    let site = Site::create()?;
    let held = provoke(case, &site)?;
    thread::sleep(SETTLED);
    for netns in [&site.servers, &site.clients] {
        for verdict in diagnosis::verdicts(&server, netns.inode(), since)? {
            println!("{}: {}", case.name, diagnosis::words(&verdict));
        }
    }
    recorder.end()?;
    drop(held);
    Ok(())
}

/// `netqueue record` in a process of its own.
struct Recorder(Child);

impl Recorder {
    fn start(file: &Path, server: &str) -> Result<Self> {
        let child = Command::new("/proc/self/exe")
            .args(["record", "--force", "--server", server])
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start netqueue record")?;
        // The file is created when the daemon has answered.
        let recorder = Self(child);
        for _ in 0..100 {
            if file.exists() {
                return Ok(recorder);
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("{} was not created within 10 s", file.display())
    }

    fn end(&mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGINT)?;
        let status = self.0.wait()?;
        if !status.success() {
            bail!("netqueue record ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_case_has_a_scenario_and_a_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
        let folders = folder.read_dir().expect("the corpus").flatten();
        let folders: BTreeSet<_> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let all: Vec<_> =
            FAMILIES.iter().flat_map(|family| family.iter()).map(|case| case.name.to_owned()).collect();
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "two cases have one name");
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), folders);
    }
}
