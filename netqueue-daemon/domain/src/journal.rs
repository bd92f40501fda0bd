//! State of the event log on disk.

/// State of the event log on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// Folder of the log.
    pub directory: String,
    /// Maximum size in bytes.
    pub limit: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of files.
    pub segments: u64,
    /// Number of the oldest event in the log.
    pub oldest: Option<u64>,
    /// Number of events of this run that were written.
    pub written: u64,
    /// Number of events of this run that are missing because the log did not keep up.
    pub behind: u64,
    /// Number of events of this run that are missing because they could not be written.
    pub unwritable: u64,
    /// Number of events that this run deleted to stay within the limit.
    pub evicted: u64,
    /// Number of events of earlier runs that were read back when this run began.
    pub read_back: u64,
    /// Number of bytes of earlier runs that were cut off or damaged.
    pub unreadable_bytes: u64,
    /// Problems of the log, in words.
    pub trouble: Vec<String>,
}
