//! Event log on disk: segments of checksummed blocks, bounded in size.
//!
//! Complete up to a fraction of a second before whatever ends the daemon.
//!
//! A segment is gzip-compressed JSON, one event a line: `zcat DIR/*.ndjson.gz
//! jq` reads the log. Every quarter of a second with events is a block of its own, a gzip member that carries
//! its length and checksum. What was cut off or damaged is thus distinguished from the rest, and the rest is
//! read.

mod block_header;
mod folder;
mod log_entry;
mod restore;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

pub use log_entry::LogEntry;

use netqueue_domain::{EventLog, JournalState, Timestamp};

/// Largest number of entries handed to the writer at once.
pub const BATCH: usize = 512;
/// Batches that may wait for the writer.
/// Take about 8 MB of events, which is more than a second of the worst storms.
const WAITING: usize = 64;

/// Settings of an event log on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// Directory of the log, created if it does not exist.
    pub directory: PathBuf,
    /// Size limit of the log in bytes.
    pub limit: u64,
    /// Memory in bytes for the events that are read back.
    pub memory: usize,
}

/// Reason why there can be no event log on disk.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes to the directory.
    #[error(
        "another netqueue writes its event log to {0}: stop it, or choose another folder with --event-log"
    )]
    Taken(PathBuf),
    /// The directory cannot be used.
    #[error("the event log's folder {path} cannot be used (--event-log): {source}")]
    Folder {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// Event log on disk, open for writing. Dropping it writes what is pending and ends the log cleanly.
#[derive(Debug)]
pub struct Journal {
    sender: Option<SyncSender<Vec<LogEntry>>>,
    state: Arc<Mutex<JournalState>>,
    writer: Option<JoinHandle<()>>,
}

/// Opens the log for the run that attached at `run`, and reads back the newest events of earlier runs.
///
/// # Errors
/// The directory cannot be used, or another netqueue uses it. Unreadable parts of it are no error; they are
/// counted.
pub fn open(settings: &JournalSettings, run: Timestamp) -> Result<(Journal, EventLog), JournalError> {
    let failed = |source| JournalError::Folder { path: settings.directory.clone(), source };
    let folder = folder::Folder::open(settings)?;
    let (events, mut state) = restore::read_back(&folder, settings).map_err(failed)?;
    state.trouble.iter().for_each(|trouble| tracing::warn!("{trouble}"));
    state.directory = settings.directory.display().to_string();
    state.limit = settings.limit;
    let state = Arc::new(Mutex::new(state));
    let (sender, lines) = sync_channel(WAITING);
    let writer = writer::Writer::begin(folder, run, events.appended(), Arc::clone(&state)).map_err(failed)?;
    let writer = std::thread::Builder::new()
        .name("event-log".to_owned())
        .spawn(move || writer.run(&lines))
        .map_err(failed)?;
    Ok((Journal { sender: Some(sender), state, writer: Some(writer) }, events))
}

impl Journal {
    /// Queues entries for the writer. Never waits: what the writer cannot take is counted as missing.
    pub fn append(&self, lines: Vec<LogEntry>) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(lines)) => self.change(|state| state.behind += lines.len() as u64),
            Err(TrySendError::Disconnected(lines)) => {
                self.change(|state| state.unwritable += lines.len() as u64);
            }
        }
    }

    /// Returns size, counts and problems of the log.
    #[must_use]
    pub fn state(&self) -> JournalState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut JournalState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the event log's writer failed: its last events may be missing");
        }
    }
}
