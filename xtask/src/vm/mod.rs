//! `cargo xtask vm`: boots stock kernels with netqueue inside and reports one verdict per kernel.

mod boot;
mod initramfs;
pub(crate) mod kernels;
mod modules;
mod qemu;
pub(crate) mod userland;
mod verdict;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use guest_init::job::Step;

use crate::build::{self, Flavour};
use crate::setup;
use crate::workspace::Workspace;

pub(crate) use boot::{Boot, Report};
pub(crate) use qemu::{Forward, Machine};
pub(crate) use verdict::{Limits, Outcome};

/// Port on which the daemon listens inside a guest.
pub(crate) const PORT: u16 = 10124;

/// Limit until PID 1 prints its first line.
pub(crate) const INIT_LIMIT: Duration = Duration::from_secs(60);

/// Limit for the daemon to attach and answer: an emulated guest may have half of a busy processor.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(90);

/// Limit for the daemon to stop.
///
/// The kernel removes the probes one after the other, on PREEMPT_RT a third of a second each.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(20);

const NETQUEUE: &str = "/bin/netqueue";

const CPUS: u32 = 2;
const MEMORY_MB: u32 = 1024;
const DEADLINE: u64 = 600;

/// Arguments of `cargo xtask vm`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The kernels to boot, by row: 5.10, 6.1, 6.12, 7.2, and for a closer look 6.1-ordinary, 6.12-rt,
    /// 7.2-rt, 6.18, 7.0; the first four when none is named, every one for `all`.
    #[arg(long = "kernel", value_name = "ROW")]
    pub(crate) kernels: Vec<String>,
    /// Virtual processors.
    #[arg(long, default_value_t = CPUS)]
    pub(crate) smp: u32,
    /// Processors the guest can grow to while it runs; some kernels from 6.9 on take no notice.
    #[arg(long, value_name = "CPUS")]
    pub(crate) possible_cpus: Option<u32>,
    /// Memory in MB.
    #[arg(long = "mem", default_value_t = MEMORY_MB, value_name = "MB")]
    pub(crate) memory_mb: u32,
    /// Seconds from power-on after which a guest is switched off.
    #[arg(long, default_value_t = DEADLINE, value_name = "SECONDS")]
    pub(crate) deadline: u64,
    /// Count instructions: one processor, and the guest's time stamp counter counts what it executes.
    #[arg(long)]
    pub(crate) icount: bool,
    /// Run netqueue with ARGS only: no daemon, no doctor.
    #[arg(long, requires = "arguments")]
    pub(crate) bare: bool,
    /// Show the console as it prints.
    #[arg(long)]
    pub(crate) verbose: bool,
    /// One more argument for `netqueue daemon`; may be given several times.
    #[arg(long = "daemon", value_name = "ARG", allow_hyphen_values = true, conflicts_with = "bare")]
    pub(crate) daemon: Vec<String>,
    /// One more argument on the kernel's command line, such as lockdown=confidentiality; may be given
    /// several times.
    #[arg(long = "append", value_name = "ARG")]
    pub(crate) append: Vec<String>,
    /// A static binary to run instead of a freshly built netqueue.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// A Debian package to unpack in the guest, with its dependencies; may be given several times.
    #[arg(long = "with", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Arguments for netqueue, instead of `lab run --all`.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<String>,
}

impl Default for Options {
    /// Returns the options of an empty command line.
    fn default() -> Self {
        Self {
            kernels: Vec::new(),
            smp: CPUS,
            possible_cpus: None,
            memory_mb: MEMORY_MB,
            deadline: DEADLINE,
            icount: false,
            bare: false,
            verbose: false,
            daemon: Vec::new(),
            append: Vec::new(),
            binary: None,
            packages: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

/// Boots every kernel requested and prints the reports.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let rows = kernels::choose(&options.kernels)?;
    let mut payload = Payload::build(workspace, options.binary.clone())?;
    if !options.packages.is_empty() {
        let packages: Vec<&str> = options.packages.iter().map(String::as_str).collect();
        payload.userland = Some(userland::ensure(workspace, &packages)?);
    }
    let mut reports = Vec::new();
    for row in rows {
        reports.push(boot_row(workspace, row, &payload, options));
    }
    println!();
    for report in &reports {
        println!("{report}");
    }
    let passed = reports.iter().all(|report| report.outcome == Outcome::Passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fetches one kernel, boots it, judges it. A kernel that cannot be had or packed has failed.
pub(crate) fn boot_row(
    workspace: &Workspace,
    row: &'static kernels::Row,
    payload: &Payload,
    options: &Options,
) -> Report {
    let attempt = kernels::ensure(workspace, row)
        .and_then(|kernel| boot(kernel, options).until_verdict(workspace, payload));
    attempt.unwrap_or_else(|error| Report::unbooted(row.name, format!("{error:#}")))
}

fn boot(kernel: kernels::Kernel, options: &Options) -> Boot {
    Boot {
        kernel,
        machine: Machine {
            cpus: options.smp,
            possible_cpus: options.possible_cpus,
            memory_mb: options.memory_mb,
            count_instructions: options.icount,
            forward: None,
            append: options.append.clone(),
        },
        limits: Limits { init: INIT_LIMIT, whole: Duration::from_secs(options.deadline) },
        job: if options.bare { bare(&options.arguments) } else { proof(&options.daemon, &options.arguments) },
        verbose: options.verbose,
    }
}

/// The programs a guest runs.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) init: PathBuf,
    pub(crate) netqueue: PathBuf,
    /// Folder with a small Debian, if the guest has one.
    pub(crate) userland: Option<PathBuf>,
    /// More files: path in the guest, and path here.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
}

impl Payload {
    /// Builds PID 1, and netqueue unless a binary is given; makes sure there is an emulator.
    pub(crate) fn build(workspace: &Workspace, netqueue: Option<PathBuf>) -> Result<Self> {
        setup::ensure_qemu()?;
        let netqueue = match netqueue {
            Some(given) => given,
            None => build::netqueue(workspace, Flavour::GUEST)?,
        };
        Ok(Self { init: build::guest_init(workspace)?, netqueue, userland: None, files: Vec::new() })
    }
}

/// Arguments that run the whole lab.
pub(crate) const LAB: [&str; 5] = ["lab", "run", "--all", "--again", "--host-settings"];

/// Steps of a proof: the daemon is up, the doctor agrees, the arguments succeed, the daemon stops.
fn proof(daemon: &[String], arguments: &[String]) -> Vec<Step> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let run = if arguments.is_empty() { netqueue(LAB) } else { netqueue(arguments) };
    vec![
        Step::Daemon { argv: netqueue(std::iter::once("daemon").chain(daemon.iter().map(String::as_str))) },
        Step::Ready { address, path: "/-/ready".to_owned(), within: READY_LIMIT },
        Step::Run { argv: netqueue(["doctor"]) },
        Step::Run { argv: run },
        Step::Get { address, path: "/api/v1/status".to_owned() },
        Step::Stop { within: STOP_LIMIT },
    ]
}

fn bare(arguments: &[String]) -> Vec<Step> {
    vec![Step::Run { argv: netqueue(arguments) }]
}

/// Builds a netqueue command line for the guest.
pub(crate) fn netqueue<Word: AsRef<str>>(arguments: impl IntoIterator<Item = Word>) -> Vec<String> {
    let arguments = arguments.into_iter().map(|word| word.as_ref().to_owned());
    std::iter::once(NETQUEUE.to_owned()).chain(arguments).collect()
}
