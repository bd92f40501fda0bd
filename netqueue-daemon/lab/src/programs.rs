//! Real servers installed on this machine: start in an experiment's namespace, signals, and the end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::verdict::Skip;

/// Directories of programs, including root's, independent of PATH.
const PLACES: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// Time limit for a server to end after a signal.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Finds the program `name`.
///
/// # Errors
/// Skips the experiment if the program is not installed.
pub(super) fn find(name: &str) -> Result<PathBuf> {
    let places = PLACES.iter().map(|place| Path::new(place).join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Skip::because(format!("{name} is not installed on this machine")))
}

/// A temporary folder for a server's files, removed with the last copy of the value.
#[derive(Clone)]
pub(super) struct Folder(Arc<Temporary>);

struct Temporary(PathBuf);

impl Folder {
    /// Creates the folder, readable for the users that servers change to.
    pub(super) fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("netqueue-lab-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(Arc::new(Temporary(path))))
    }

    /// Writes a file and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.0.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Leftovers do no harm in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server and the processes it starts.
pub(super) struct Program {
    name: String,
    child: Child,
    words: PathBuf,
}

impl Program {
    /// Starts the program in the calling thread's namespace.
    pub(super) fn start(name: &str, arguments: &[&str], folder: &Folder) -> Result<Self> {
        let words = folder.path().join(format!("{name}.out"));
        let out = File::create(&words).with_context(|| format!("cannot write {}", words.display()))?;
        let child = Command::new(find(name)?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, words })
    }

    /// The PID of the process that was started.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the first process only.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.process()?, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends a signal to the whole process group.
    pub(super) fn signal_all(&self, signal: Signal) -> Result<()> {
        killpg(self.process()?, signal)
            .with_context(|| format!("cannot send {signal} to all of {}", self.name))
    }

    /// Sends the first process `signal` and waits until it has ended.
    pub(super) fn end(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)?;
        let start = Instant::now();
        while self.child.try_wait().with_context(|| format!("cannot look at {}", self.name))?.is_none() {
            ensure!(start.elapsed() < ENDS_WITHIN, "{} did not end{}", self.name, self.said());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Checks that the first process still runs.
    ///
    /// # Errors
    /// Fails if the process has ended; the error contains its output.
    pub(super) fn is_running(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot look at {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}{}", self.name, self.said()),
        }
    }

    fn process(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("a process id fits 31 bits")?))
    }

    fn said(&self) -> String {
        let words = fs::read_to_string(&self.words).unwrap_or_default();
        if words.trim().is_empty() { String::new() } else { format!(" and said: {}", words.trim()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A stopped process does not end, an ended one takes no signal: neither matters here.
        let _ = self.signal_all(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Runs a program to its end in the calling thread's namespace; only success is no error.
pub(super) fn output(name: &str, arguments: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } = Command::new(find(name)?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!(
            "{name} {} ended with {status}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
