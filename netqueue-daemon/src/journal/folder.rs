//! Directory of the log: its segments in order, and the lock that keeps other writers out.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::PathBuf,
};

use netqueue_domain::WallTime;

use super::{JournalError, JournalSettings};

const PREFIX: &str = "events-";
const SUFFIX: &str = ".ndjson.gz";

/// Directory, locked by this process.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    pub(super) limit: u64,
    /// Lock, released when this run ends.
    _lock: File,
}

impl Folder {
    pub(super) fn open(settings: &JournalSettings) -> Result<Self, JournalError> {
        let path = settings.directory.clone();
        let failed = |source| JournalError::Folder { path: path.clone(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Taken(path)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Self { path, limit: settings.limit, _lock: lock })
    }

    /// Returns the segments, oldest first. Other files are ignored.
    pub(super) fn segments(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.path)?.collect::<io::Result<Vec<_>>>()?;
        let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        let mut segments: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
        segments.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(ours));
        segments.sort();
        Ok(segments)
    }

    /// Creates a segment whose first event will have this number.
    /// Names sort by it, then by time, for segments without events.
    pub(super) fn create(&self, first: u64, now: WallTime) -> io::Result<(PathBuf, File)> {
        let path = self.path.join(format!("{PREFIX}{first:020}-{:020}{SUFFIX}", now.as_nanos()));
        let file = File::options().create_new(true).write(true).open(&path)?;
        // The directory entry must be as durable as the data.
        File::open(&self.path)?.sync_all()?;
        Ok((path, file))
    }
}
