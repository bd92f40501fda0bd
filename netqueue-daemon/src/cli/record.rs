//! `netqueue record`: records what a running daemon observes, for `netqueue replay`.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    mem,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::time::{Instant, interval_at, sleep_until};

use netqueue_cli::{client::Query, client_args::DaemonAddress};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    api::RECORDING,
    recording::{END, Writer},
};

/// Interval at which everything written so far is made readable.
const FLUSH: Duration = Duration::from_secs(1);
/// Time without data after which the daemon is gone: it sends its health every second.
const SILENCE: Duration = Duration::from_secs(15);

/// Time for which a recording that is to end waits for the daemon's next report of its health.
const LAST_REPORT: Duration = Duration::from_secs(3);

/// End of the help: examples.
pub const HELP: &str = "\
Examples:
  netqueue record incident.nqr --for 60
  netqueue record incident.nqr --server http://10.0.0.7:10124
  netqueue replay incident.nqr --speed 10    then ask 127.0.0.1:10124 as if it were that host

Exit codes: 0 the recording is complete; 2 it is not, or there is none.";

/// Arguments of `netqueue record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// The file to write; it must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seconds after which the recording ends; without it, when it is interrupted or the daemon stops
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Overwrites an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    daemon: DaemonAddress,
}

/// Records until it is interrupted, the time is over, or the daemon stops.
///
/// A recording ends with the next report of the daemon's health, before which it has reported the counts of all
/// events, so that both agree; a second interruption ends it at once.
///
/// # Errors
/// The daemon does not answer, or the file cannot be written.
pub fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(record(args))
}

async fn record(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let mut answer = args.daemon.client()?.open(&Query::new(RECORDING)).await?;
    let mut writer = Writer::new(BufWriter::new(create(&args.file, args.force)?));
    let shown = args.file.display();
    let failed = || format!("cannot write {shown}");
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut flush = interval_at(Instant::now() + FLUSH, FLUSH);
    let (mut lines, mut written, mut complete, mut broken) = (Lines::default(), 0_u64, false, None);
    let mut heard = Instant::now();
    let (mut last_report, mut consistency) = (None, Consistency::default());
    'recording: loop {
        tokio::select! {
            read = answer.next() => {
                match read {
                    Ok(Some(bytes)) => {
                        lines.push(&bytes);
                        heard = Instant::now();
                    }
                    Ok(None) => break,
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
                while let Some(line) = lines.next() {
                    if line == END.as_bytes() {
                        complete = true;
                        break 'recording;
                    }
                    writer.line(&line).with_context(failed)?;
                    written += 1;
                    if consistency.follow(&line) && last_report.is_some() {
                        complete = true;
                        break 'recording;
                    }
                }
            }
            () = sleep_until(heard + SILENCE) => {
                broken = Some(answer.silent(SILENCE));
                break;
            }
            _ = flush.tick() => writer.flush().with_context(failed)?,
            () = ended(end), if last_report.is_none() => last_report = Some(Instant::now() + LAST_REPORT),
            () = ended(last_report) => { complete = true; break }
            stop = tokio::signal::ctrl_c() => {
                stop?;
                if last_report.is_some() { complete = true; break }
                last_report = Some(Instant::now() + LAST_REPORT);
            }
        }
    }
    if complete {
        writer.line(END.as_bytes()).with_context(failed)?;
    }
    let file = writer.finish().with_context(failed)?.into_inner().with_context(failed)?;
    file.sync_all().with_context(failed)?;
    let verdict = if complete { "complete" } else { "not complete" };
    writeln!(io::stderr().lock(), "{shown}: {} observations, {verdict}", written.saturating_sub(1))?;
    if !complete {
        let why = broken.map_or_else(String::new, |error| format!(" ({error})"));
        bail!("the daemon went away in the middle{why}: {shown} holds what was observed until then");
    }
    Ok(ExitCode::SUCCESS)
}

/// Consistency of a recording so far: the counts include all events.
#[derive(Debug, Default)]
struct Consistency {
    /// True after events whose counts have not come yet.
    uncounted: bool,
}

impl Consistency {
    /// Follows one more line; returns whether the recording may end with it.
    fn follow(&mut self, line: &[u8]) -> bool {
        /// A line, of which only the kind of observation matters.
        #[derive(Deserialize)]
        struct Line {
            what: HashMap<String, IgnoredAny>,
        }
        // The header is no observation.
        let Ok(Line { what }) = serde_json::from_slice(line) else { return false };
        if what.contains_key("events") {
            self.uncounted = true;
        } else if what.contains_key("counts") || what.contains_key("checkpoint") {
            self.uncounted = false;
        }
        !self.uncounted && what.contains_key("health")
    }
}

/// Splits a stream of bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
    /// Length of the beginning of `pending` that has no line break.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Returns the next line that is complete, without its line break.
    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.pending.len();
            return None;
        };
        let rest = self.pending.split_off(self.searched + end + 1);
        let mut line = mem::replace(&mut self.pending, rest);
        self.searched = 0;
        line.pop();
        Some(line)
    }
}

async fn ended(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn create(path: &Path, force: bool) -> anyhow::Result<File> {
    let mut options = File::options();
    options.write(true).truncate(true).create(force).create_new(!force);
    options.open(path).with_context(|| match path.exists() && !force {
        true => format!("{} exists: choose another name, or give --force", path.display()),
        false => format!("cannot create {}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::default();
        let mut read = |bytes: &[u8]| {
            lines.push(bytes);
            std::iter::from_fn(|| lines.next()).collect::<Vec<_>>()
        };
        assert_eq!(read(b"on"), Vec::<Vec<u8>>::new());
        assert_eq!(read(b"e\ntwo\n\nth"), [&b"one"[..], b"two", b""]);
        assert_eq!(read(b"ree"), Vec::<Vec<u8>>::new());
        assert_eq!(read(b"\n"), [b"three"]);
    }
}
