//! Carries out a job step by step; the first failure is the verdict's reason.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guest_init::http;
use guest_init::job::Step;
use guest_init::protocol::{DAEMON, FILE, JOB, JOB_ERR};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::console::{copy, line, say};
use crate::network;

/// Time limit of a single request.
const REQUEST: Duration = Duration::from_secs(5);

/// Carries out all steps. A daemon still running at the end is killed.
pub(crate) fn perform(steps: &[Step]) -> Result<()> {
    let mut daemon = None;
    let outcome = steps.iter().try_for_each(|step| one(step, &mut daemon));
    if let Some(mut left) = daemon {
        left.kill();
    }
    outcome
}

fn one(step: &Step, daemon: &mut Option<Program>) -> Result<()> {
    match step {
        Step::Network { address, prefix, gateway } => network::card(*address, *prefix, *gateway),
        Step::HandOver { argv } => bail!("the job hands over to {argv:?} twice, or not as PID 1"),
        Step::Daemon { argv } => {
            if daemon.is_some() {
                bail!("the job starts a second daemon");
            }
            *daemon = Some(Program::start(argv, DAEMON, DAEMON)?);
            Ok(())
        }
        Step::Ready { address, path, within } => ready(*address, path, *within, daemon),
        Step::Wait { time } => {
            say(format_args!("waiting for {} s", time.as_secs()));
            thread::sleep(*time);
            Ok(())
        }
        Step::Run { argv } => run(argv),
        Step::Get { address, path } => fetch(*address, path),
        Step::Send { file } => send(file),
        Step::Stop { within } => stop(daemon.take(), *within),
    }
}

fn run(argv: &[String]) -> Result<()> {
    let shown = argv.join(" ");
    say(format_args!("running {shown}"));
    let start = Instant::now();
    let status = Program::start(argv, JOB, JOB_ERR)?.wait()?;
    say(format_args!("{shown}: {status} after {:.1} s", start.elapsed().as_secs_f64()));
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

fn ready(address: SocketAddr, path: &str, within: Duration, daemon: &mut Option<Program>) -> Result<()> {
    let start = Instant::now();
    loop {
        let last = match http::get(address, path, REQUEST) {
            Ok(answer) if answer.status == 200 => {
                say(format_args!("ready {:.1} s after it was asked", start.elapsed().as_secs_f64()));
                return Ok(());
            }
            Ok(answer) => format!("status {}: {}", answer.status, answer.body.trim()),
            Err(error) => format!("{error:#}"),
        };
        if let Some(program) = daemon
            && let Some(status) = program.child.try_wait().context("the daemon cannot be looked at")?
        {
            bail!("the daemon ended before it was ready: {status}");
        }
        if start.elapsed() > within {
            bail!("{path} was not 200 within {} s, last: {last}", within.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn fetch(address: SocketAddr, path: &str) -> Result<()> {
    let answer = http::get(address, path, REQUEST)?;
    line(JOB, &format!("GET {path}: {}", answer.status));
    for text in answer.body.lines() {
        line(JOB, text);
    }
    if answer.status != 200 {
        bail!("GET {path} answered {}", answer.status);
    }
    Ok(())
}

/// Prints a file in lines of Base64, short enough that the console does not cut them.
fn send(file: &str) -> Result<()> {
    const PIECE: usize = 600;
    let bytes = fs::read(file).with_context(|| format!("{file} cannot be read"))?;
    for piece in bytes.chunks(PIECE) {
        line(FILE, &format!("{file} {}", BASE64_STANDARD.encode(piece)));
    }
    say(format_args!("sent {file}: {} bytes", bytes.len()));
    Ok(())
}

fn stop(daemon: Option<Program>, within: Duration) -> Result<()> {
    let mut program = daemon.context("the job stops a daemon it did not start")?;
    let start = Instant::now();
    let pid = i32::try_from(program.child.id()).context("a process id fits 31 bits")?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).context("the daemon cannot be told to stop")?;
    while start.elapsed() < within {
        if program.child.try_wait().context("the daemon cannot be looked at")?.is_none() {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let status = program.wait()?;
        say(format_args!("daemon stopped: {status} after {:.1} s", start.elapsed().as_secs_f64()));
        if !status.success() {
            bail!("the daemon, told to stop, ended with {status}");
        }
        return Ok(());
    }
    program.kill();
    bail!("the daemon, told to stop, was still running after {} s", within.as_secs())
}

/// A program whose output goes to the console.
struct Program {
    child: Child,
    copies: Vec<JoinHandle<()>>,
}

impl Program {
    fn start(argv: &[String], out: &'static str, err: &'static str) -> Result<Self> {
        let (program, arguments) = argv.split_first().context("a command needs a program")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/bin:/sbin")
            .env("HOME", "/")
            .env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        let copies = vec![copy(child.stdout.take(), out), copy(child.stderr.take(), err)];
        Ok(Self { child, copies })
    }

    /// Waits for the program's end and for the rest of its output.
    fn wait(mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("a program's end cannot be awaited")?;
        for copy in self.copies {
            // A grandchild may keep the pipe open; the job does not wait longer for its output.
            let start = Instant::now();
            while !copy.is_finished() && start.elapsed() < Duration::from_secs(1) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(status)
    }

    fn kill(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
