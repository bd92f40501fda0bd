//! Runs other programs; a failure is reported with the command line and its last lines of output.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Command for the cargo that runs this xtask, started at the workspace's top.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).stdin(Stdio::null());
    command
}

/// Finds `program` on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Formats the command line as a reader would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Runs to the end with the terminal's own stdout and stderr; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("`{}` could not be started", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// A program that runs without output until this value is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts the program.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        quiet(command).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("`{}` could not be started", shown(command)))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs to the end and returns stdout; on failure the error ends with the command's last lines.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = quiet(command).output();
    let output = output.with_context(|| format!("`{}` could not be started", shown(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("`{}` failed: {}\n{}", shown(command), output.status, tail(&said, 12));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs quietly, but not longer than `limit`.
pub(crate) fn bounded(command: &mut Command, limit: Duration) -> Result<()> {
    let child = quiet(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("`{}` could not be started", shown(command)))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let Some(status) = wait_for(&mut child, limit)? else {
        child.kill().context("a command that ran too long could not be killed")?;
        child.wait().context("a killed command could not be reaped")?;
        bail!("`{}` was still running after {} s", shown(command), limit.as_secs());
    };
    if !status.success() {
        let said = [stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default()].concat();
        bail!("`{}` failed: {status}\n{}", shown(command), tail(&said, 12));
    }
    Ok(())
}

/// Runs to the end, shows stdout and stderr line by line as they come, and returns the lines as well.
pub(crate) fn tee(command: &mut Command) -> Result<(ExitStatus, Vec<String>)> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("`{}` could not be started", shown(command)))?;
    let (sender, lines) = channel();
    let copies = [echo(child.stdout.take(), sender.clone()), echo(child.stderr.take(), sender)];
    let lines = lines.into_iter().collect();
    for copy in copies {
        // A thread that panicked has shown why; the status still counts.
        let _ = copy.join();
    }
    let status =
        child.wait().with_context(|| format!("the end of `{}` cannot be awaited", shown(command)))?;
    Ok((status, lines))
}

fn echo(pipe: Option<impl Read + Send + 'static>, to: Sender<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("{line}");
            if to.send(line).is_err() {
                return;
            }
        }
    })
}

/// Waits for the end of `child`, but not longer than `limit`.
pub(crate) fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("a command's end could not be awaited")? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Gives the command no input, and a Rust program's errors no backtrace.
fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0")
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks half-way leaves what was read so far, which is all the error needs.
            let _ = pipe.read_to_end(&mut said);
        }
        said
    })
}

fn tail(said: &[u8], lines: usize) -> String {
    let said = String::from_utf8_lossy(said);
    let all: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Prints one line about one step.
pub(crate) fn say(step: &str, what: impl std::fmt::Display) {
    println!("setup: {step}: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_last_words() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("sh -c") && error.contains("no such luck"), "{error}");
    }

    #[test]
    fn what_a_command_says_is_kept_with_its_status() {
        let (status, lines) = tee(Command::new("sh").args(["-c", "echo one; exit 3"])).unwrap();
        assert_eq!((status.code(), lines.as_slice()), (Some(3), ["one".to_owned()].as_slice()));
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = bounded(Command::new("sleep").arg("30"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("still running"), "{error}");
    }
}
