//! `cargo xtask bench`: instructions that netqueue adds to a connection, a dropped SYN, a data packet.
//!
//! The guest's emulator counts the instructions it executes, and shows them as the guest's time stamp counter
//! (`-icount`): no clock, no other load and no other machine changes the figures. Each boot measures
//! everything against its own base.

pub(crate) mod baseline;
mod plan;
mod rows;
mod table;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::dup2_stdout;

use crate::vm::kernels::{self, Row as Kernel};
use crate::vm::{Boot, INIT_LIMIT, Limits, Machine, Outcome, Payload, userland};
use crate::workspace::Workspace;
use plan::{Mode, Setting, Work};
use rows::Row;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The kernels, by row; those of the matrix when none is named.
    #[arg(long = "kernel", value_name = "ROW")]
    kernels: Vec<String>,
    /// Ways of attaching programs; auto and kprobe when none is named.
    #[arg(long = "mode", value_enum, value_name = "MODE")]
    modes: Vec<Mode>,
    /// Print one JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
    /// Also measure two bpftrace scripts, for Linux 5.10 to 6.12: one that counts the same, and one with
    /// entry probes that guesses.
    #[arg(long)]
    bpftrace: bool,
    /// Measure the figures that CI compares later ones with, and write them to xtask/baseline.json.
    #[arg(long, conflicts_with_all = ["kernels", "modes", "json", "bpftrace"])]
    write_baseline: bool,
    /// A static binary instead of a freshly built netqueue.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut rows_go_to = if options.json { Some(stdout_aside()?) } else { None };
    let kernels = kernels::choose(&options.kernels)?;
    let modes = if options.modes.is_empty() { vec![Mode::Auto, Mode::Kprobe] } else { options.modes.clone() };
    let payload = Payload::build(workspace, options.binary.clone())?;
    if options.write_baseline {
        let rows = baseline::rows(workspace, &payload)?;
        baseline::write(workspace, &rows)?;
        println!("{}\n{}", table::of(&rows), baseline::FILE);
        return Ok(ExitCode::SUCCESS);
    }
    let mut payload = payload;
    if options.bpftrace {
        payload.userland = Some(userland::ensure(workspace, &["bpftrace"])?);
        payload.files = plan::SCRIPTS.map(|(place, file)| (place, workspace.root().join(file))).into();
    }
    let settings = plan::settings(&modes, options.bpftrace);
    let mut failed = false;
    let mut measured = Vec::new();
    for kernel in kernels {
        match measure(workspace, kernel, &payload, &settings, &Work::ALL) {
            Ok(rows) => measured.push(rows),
            Err(error) => {
                eprintln!("bench {}: {error:#}", kernel.name);
                failed = true;
            }
        }
    }
    match &mut rows_go_to {
        Some(out) => measured.iter().flatten().try_for_each(|row| writeln!(out, "{}", row.json()))?,
        None => measured.iter().for_each(|rows| println!("\n{}", table::of(rows))),
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Redirects stdout to stderr, here and in programs started later; returns the real stdout for rows.
fn stdout_aside() -> Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().context("stdout cannot be kept for the rows")?;
    dup2_stdout(io::stderr()).context("words cannot be sent to stderr")?;
    Ok(File::from(stdout))
}

/// Boots one kernel and measures all settings in it.
fn measure(
    workspace: &Workspace,
    kernel: &'static Kernel,
    payload: &Payload,
    settings: &[Setting],
    works: &[Work],
) -> Result<Vec<Row>> {
    let memory_mb = if payload.userland.is_some() { 4096 } else { 1024 };
    const DEADLINE: Duration = Duration::from_secs(1800);
    let boot = Boot {
        kernel: kernels::ensure(workspace, kernel)?,
        machine: Machine {
            cpus: 1,
            possible_cpus: None,
            memory_mb,
            count_instructions: true,
            forward: None,
            append: Vec::new(),
        },
        limits: Limits { init: INIT_LIMIT, whole: DEADLINE },
        job: plan::job(settings, works),
        verbose: false,
    };
    let report = boot.until_verdict(workspace, payload)?;
    match report.outcome {
        Outcome::Passed => rows::read(kernel.name, settings, works, &report.output),
        Outcome::Failed(reason) | Outcome::DiedEarly(reason) => {
            bail!("{reason} (console: {})", report.console)
        }
    }
}
