//! `cargo xtask cases`: re-enacts public reports in a guest, fetches the recordings, has them judged.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_init::job::Step;

use crate::process;
use crate::vm::{
    Boot, INIT_LIMIT, Limits, Machine, Outcome, PORT, Payload, READY_LIMIT, STOP_LIMIT, kernels, netqueue,
    userland,
};
use crate::workspace::Workspace;

/// Folder of the corpus, below the workspace.
const CORPUS: &str = "netqueue-daemon/tests/cases";
/// Name of a recording in its case's folder.
const RECORDING: &str = "recording.nqr";
/// Largest recording that the corpus takes, in bytes.
const LARGEST: usize = 60_000;
/// Time of a case in a busy guest, with the start of its daemon.
const EACH: Duration = Duration::from_secs(150);
const KERNEL: &str = "6.12";

/// Arguments of `cargo xtask cases`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Names of cases, those of their folders; every case when none is named.
    #[arg(conflicts_with = "score")]
    names: Vec<String>,
    /// Judge the recordings of the corpus, without a guest.
    #[arg(long, conflicts_with_all = ["record", "kernel", "binary"])]
    score: bool,
    /// Put the new recordings into the corpus.
    #[arg(long)]
    record: bool,
    /// The kernel to boot, by row.
    #[arg(long, value_name = "ROW", default_value = KERNEL)]
    kernel: String,
    /// A static binary to run instead of a freshly built netqueue.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Show the console as it prints.
    #[arg(long)]
    verbose: bool,
}

/// Runs the cases in guests, or judges the recordings that are there.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let corpus = workspace.root().join(CORPUS);
    if options.score {
        return judge(workspace, &corpus);
    }
    let names = choose(&corpus, &options.names)?;
    let into = workspace.target("cases");
    crate::debian::empty_dir(&into)?;
    for name in &names {
        fs::create_dir_all(into.join(name))?;
        fs::copy(corpus.join(name).join("case.toml"), into.join(name).join("case.toml"))?;
    }
    let failed = record(workspace, options, &names, &into)?;
    if options.record {
        for name in names.iter().filter(|name| !failed.contains_key(*name)) {
            fs::copy(into.join(name).join(RECORDING), corpus.join(name).join(RECORDING))?;
        }
    }
    let judged = judge(workspace, &into)?;
    for (name, reason) in &failed {
        println!("{name}: not re-enacted: {reason}");
    }
    Ok(if failed.is_empty() { judged } else { ExitCode::FAILURE })
}

fn choose(corpus: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let folders = fs::read_dir(corpus).with_context(|| format!("{} cannot be read", corpus.display()))?;
    let mut all: Vec<_> =
        folders.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort_unstable();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("{CORPUS} has no case {unknown}");
    }
    all.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(all)
}

/// Re-enacts the cases one after the other, with a daemon of its own each; returns those that failed.
///
/// A case that fails ends its guest, so the cases that follow it get another.
fn record(
    workspace: &Workspace,
    options: &Options,
    names: &[String],
    into: &Path,
) -> Result<BTreeMap<String, String>> {
    let mut payload = Payload::build(workspace, options.binary.clone())?;
    let packages = packages(into, names)?;
    if !packages.is_empty() {
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        payload.userland = Some(userland::ensure(workspace, &packages)?);
    }
    let mut failed = BTreeMap::new();
    let mut left = names.to_vec();
    while !left.is_empty() {
        let kernel = kernels::ensure(workspace, kernels::row(&options.kernel)?)?;
        let boot = Boot {
            kernel,
            machine: Machine {
                cpus: 2,
                possible_cpus: None,
                memory_mb: 1024,
                count_instructions: false,
                forward: None,
                append: Vec::new(),
            },
            limits: Limits { init: INIT_LIMIT, whole: EACH * u32::try_from(left.len())? },
            job: left.iter().flat_map(|name| steps(name)).collect(),
            verbose: options.verbose,
        };
        let report = boot.until_verdict(workspace, &payload)?;
        println!("{report}");
        for (path, bytes) in &report.files {
            let name = path.trim_start_matches('/').trim_end_matches(".nqr");
            if bytes.len() > LARGEST {
                let size = bytes.len();
                failed.insert(name.to_owned(), format!("its recording has {size} bytes, {LARGEST} at most"));
            }
            fs::write(into.join(name).join(RECORDING), bytes)?;
        }
        left.retain(|name| !report.files.contains_key(&file(name)));
        match &report.outcome {
            Outcome::Passed => break,
            Outcome::Failed(reason) | Outcome::DiedEarly(reason) if !left.is_empty() => {
                failed.insert(left.remove(0), reason.clone());
            }
            Outcome::Failed(reason) | Outcome::DiedEarly(reason) => bail!("{reason}"),
        }
    }
    Ok(failed)
}

/// Path of a case's recording in the guest.
fn file(name: &str) -> String {
    format!("/{name}.nqr")
}

fn steps(name: &str) -> [Step; 5] {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let file = file(name);
    [
        Step::Daemon { argv: netqueue(["daemon", "--log.level=warn"]) },
        Step::Ready { address, path: "/-/ready".to_owned(), within: READY_LIMIT },
        Step::Run { argv: netqueue(["lab", "case", name, "--record", &file]) },
        Step::Send { file },
        Step::Stop { within: STOP_LIMIT },
    ]
}

/// Debian packages that the cases need: real servers.
fn packages(corpus: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in names {
        let file = corpus.join(name).join("case.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let case: toml::Table =
            text.parse().with_context(|| format!("{} cannot be parsed", file.display()))?;
        let packages = case.get("packages").and_then(toml::Value::as_array).into_iter().flatten();
        all.extend(packages.filter_map(toml::Value::as_str).map(str::to_owned));
    }
    Ok(all)
}

/// Has the test of the corpus judge the recordings in a folder; the table is its output.
fn judge(workspace: &Workspace, folder: &Path) -> Result<ExitCode> {
    let mut test = process::cargo(workspace);
    test.args([
        "test",
        "--quiet",
        "--locked",
        "-p",
        "netqueue-domain",
        "--test",
        "cases",
        "--",
        "--nocapture",
    ]);
    test.env("NETQUEUE_CASES", folder);
    let (status, _) = process::tee(&mut test)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
