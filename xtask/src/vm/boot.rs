//! Boots one guest: packs it, follows its console, keeps the log, tries once more if it died early.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guest_init::job::Step;
use guest_init::protocol::{self, Said};

use super::initramfs::{self, Contents};
use super::kernels::Kernel;
use super::qemu::{Guest, Machine};
use super::verdict::{Judge, Limits, Outcome};
use super::{Payload, modules};
use crate::workspace::Workspace;

/// Console lines shown when a guest failed.
const TAIL: usize = 60;

/// A guest before power-on.
pub(crate) struct Boot {
    pub(crate) kernel: Kernel,
    pub(crate) machine: Machine,
    pub(crate) limits: Limits,
    pub(crate) job: Vec<Step>,
    /// Shows the console as it prints.
    pub(crate) verbose: bool,
}

/// Result of one guest.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) kernel: &'static str,
    pub(crate) package: String,
    pub(crate) outcome: Outcome,
    /// Time from power-on to the verdict, or to the end where there was none.
    pub(crate) took: Duration,
    /// Output of the job.
    pub(crate) output: Vec<String>,
    /// Files that the guest sent, by path in the guest, each whole.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Path of the log of the whole console.
    pub(crate) console: String,
}

impl Report {
    /// Reports a guest that never got as far as power-on.
    pub(crate) fn unbooted(kernel: &'static str, reason: String) -> Self {
        println!("vm {kernel}: {reason}");
        Self {
            kernel,
            package: "not booted".to_owned(),
            outcome: Outcome::Failed(reason),
            took: Duration::ZERO,
            output: Vec::new(),
            files: BTreeMap::new(),
            console: "none".to_owned(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "vm {:5} {:6.1} s  ", self.kernel, self.took.as_secs_f64())?;
        match &self.outcome {
            Outcome::Passed => write!(out, "pass")?,
            Outcome::Failed(reason) => write!(out, "FAIL: {reason}")?,
            Outcome::DiedEarly(reason) => write!(out, "FAIL before PID 1 spoke: {reason}")?,
        }
        write!(out, "  [{}; console: {}]", self.package, self.console)
    }
}

impl Boot {
    /// Boots, follows and judges the guest; the job's own output is shown as it comes.
    pub(crate) fn until_verdict(&self, workspace: &Workspace, payload: &Payload) -> Result<Report> {
        let report = self.until_stopped(workspace, payload, || false)?;
        report.context("a guest that nobody stops ends with a verdict")
    }

    /// Boots, follows and judges the guest; switches it off, without a report, once `stop` returns true.
    pub(crate) fn until_stopped(
        &self,
        workspace: &Workspace,
        payload: &Payload,
        mut stop: impl FnMut() -> bool,
    ) -> Result<Option<Report>> {
        let initramfs = self.pack(workspace, payload)?;
        let first = self.attempt(workspace, &initramfs, &mut stop)?;
        if let Some(report) = &first
            && let Outcome::DiedEarly(reason) = &report.outcome
        {
            println!("vm {}: died before PID 1 spoke ({reason}); trying once more", self.kernel.name);
            return self.attempt(workspace, &initramfs, &mut stop);
        }
        Ok(first)
    }

    /// Packs the guest's file system and returns its path.
    fn pack(&self, workspace: &Workspace, payload: &Payload) -> Result<PathBuf> {
        let folder = workspace.target("vm");
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let into = folder.join(format!("{}.cpio", self.kernel.name));
        let modules = modules::collect(&self.kernel.modules)
            .with_context(|| format!("the modules of {} cannot be packed", self.kernel.package))?;
        let contents = Contents {
            init: &payload.init,
            netqueue: &payload.netqueue,
            userland: payload.userland.as_deref(),
            files: &payload.files,
            job: &self.job,
            modules: &modules,
        };
        initramfs::pack(&contents, &into)?;
        Ok(into)
    }

    fn attempt(
        &self,
        workspace: &Workspace,
        initramfs: &Path,
        stop: &mut impl FnMut() -> bool,
    ) -> Result<Option<Report>> {
        let log = workspace.target("vm").join(format!("{}.console", self.kernel.name));
        println!("vm {}: booting {}", self.kernel.name, self.kernel.package);
        let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let mut console = Console {
            file: BufWriter::new(file),
            tail: VecDeque::new(),
            output: Vec::new(),
            files: BTreeMap::new(),
        };
        let mut judge = Judge::new(self.limits);
        let start = Instant::now();
        let guest = Guest::start(&self.machine, &self.kernel.image, initramfs)?;
        let take = |line: &str| {
            self.show(line);
            console.take(line)
        };
        let outcome = follow(&guest, &mut judge, take, stop)?;
        drop(guest);
        let took = judge.verdict_at().unwrap_or_else(|| start.elapsed());
        console.file.flush().with_context(|| format!("{} cannot be written", log.display()))?;
        let Some(outcome) = outcome else { return Ok(None) };
        if outcome != Outcome::Passed && !self.verbose {
            console.show_tail(self.kernel.name);
        }
        Ok(Some(Report {
            kernel: self.kernel.name,
            package: self.kernel.package.clone(),
            outcome,
            took,
            output: console.output,
            files: console.files,
            console: workspace.show(&log),
        }))
    }

    fn show(&self, line: &str) {
        let name = self.kernel.name;
        match protocol::read(line) {
            Said::Job(text) if !self.verbose => println!("{name} | {text}"),
            _ if self.verbose && !line.starts_with(protocol::FILE) => println!("{name} | {line}"),
            Said::Init(_) | Said::Job(_) | Said::File(..) | Said::Verdict(_) | Said::Other(_) => {}
        }
    }
}

/// Follows a console to the guest's end and returns the verdict; `None` once `stop` returns true.
fn follow(
    guest: &Guest,
    judge: &mut Judge,
    mut take: impl FnMut(&str) -> Result<()>,
    stop: &mut impl FnMut() -> bool,
) -> Result<Option<Outcome>> {
    let start = Instant::now();
    loop {
        let received = guest.lines().recv_timeout(Duration::from_millis(200));
        let now = start.elapsed();
        match received {
            Ok(line) => {
                judge.line(&line, now);
                take(&line)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(judge.ended())),
        }
        if let Some(outcome) = judge.tick(now) {
            return Ok(Some(outcome));
        }
        if stop() {
            return Ok(None);
        }
    }
}

struct Console {
    file: BufWriter<File>,
    tail: VecDeque<String>,
    output: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Console {
    fn take(&mut self, line: &str) -> Result<()> {
        match protocol::read(line) {
            Said::Job(text) => self.output.push(text.to_owned()),
            Said::File(path, piece) => {
                let piece = BASE64_STANDARD.decode(piece);
                let piece = piece.with_context(|| format!("a piece of {path} came damaged"))?;
                self.files.entry(path.to_owned()).or_default().extend(piece);
                return Ok(());
            }
            Said::Init(_) | Said::Verdict(_) | Said::Other(_) => {}
        }
        writeln!(self.file, "{line}").context("the console's log cannot be written")?;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        Ok(())
    }

    fn show_tail(&self, name: &str) {
        println!("vm {name}: the console's last {} lines:", self.tail.len());
        for line in &self.tail {
            println!("{name} > {line}");
        }
    }
}
