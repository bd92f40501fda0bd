//! How the event log on disk is doing.

/// The state of the event log on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// Its folder.
    pub directory: String,
    /// Bytes it may take.
    pub limit: u64,
    /// Bytes it takes.
    pub bytes: u64,
    /// Files it is made of.
    pub segments: u64,
    /// The number of the oldest event in it.
    pub oldest: Option<u64>,
    /// Events of this run that were written.
    pub written: u64,
    /// Events of this run that are missing in it because it did not keep up.
    pub behind: u64,
    /// Events of this run that are missing in it because they could not be written.
    pub unwritable: u64,
    /// Events that were deleted by this run to stay within the limit.
    pub evicted: u64,
    /// Events of earlier runs that were read back when this one began.
    pub read_back: u64,
    /// Bytes of earlier runs that could not be understood: cut off or damaged.
    pub unreadable_bytes: u64,
    /// What is wrong with it, in words.
    pub trouble: Vec<String>,
}
