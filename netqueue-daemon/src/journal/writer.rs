//! Thread that writes the log: a block for every quarter of a second with events.
//!
//! A block is written as a whole or not at all.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use netqueue_domain::{JournalState, Timestamp};

use super::{
    LogEntry,
    folder::Folder,
    segment::{self, Part},
};
use crate::clock;

/// Longest time from an event to its write.
const FLUSH: Duration = Duration::from_millis(250);
/// Interval of empty blocks while there are no events: the newest one shows until when netqueue ran.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Size in bytes before compression at which a block is written early.
const LARGEST: usize = 1 << 20;
/// Number of segments into which the size limit is divided: a full log loses one of them at once.
const SEGMENTS: u64 = 16;

pub(super) struct Writer {
    folder: Folder,
    run: Timestamp,
    /// Segments, oldest first; the last one is being written, unless that failed.
    segments: VecDeque<Segment>,
    current: Option<Arc<File>>,
    syncer: Syncer,
    part: Option<(Part, Instant)>,
    /// Number of the next event.
    next: u64,
    wrote: Instant,
    /// True if the disk refused the last block.
    failing: bool,
    state: Arc<Mutex<JournalState>>,
}

struct Segment {
    path: PathBuf,
    bytes: u64,
    events: u64,
    /// Number of its first event; `None` if it has none.
    first: Option<u64>,
}

impl Writer {
    /// Begins a segment for this run, whose events are numbered after `last`.
    pub(super) fn begin(
        folder: Folder,
        run: Timestamp,
        last: u64,
        state: Arc<Mutex<JournalState>>,
    ) -> io::Result<Self> {
        let mut segments = VecDeque::new();
        for path in folder.segments()? {
            let (marks, _) = segment::marks(&path)?;
            let with_events = marks.iter().map(|(_, mark)| mark).filter(|mark| mark.events.get() > 0);
            let events = with_events.clone().map(|mark| u64::from(mark.events.get())).sum();
            let first = with_events.map(|mark| mark.first.get()).next();
            segments.push_back(Segment { bytes: fs::metadata(&path)?.len(), path, events, first });
        }
        let mut writer = Self {
            folder,
            run,
            segments,
            current: None,
            syncer: Syncer::start()?,
            part: None,
            next: last + 1,
            wrote: Instant::now(),
            failing: false,
            state,
        };
        writer.write(Part::new(last + 1), false)?;
        Ok(writer)
    }

    /// Writes until all senders are gone.
    pub(super) fn run(mut self, lines: &Receiver<Vec<LogEntry>>) {
        loop {
            let wait = match &self.part {
                Some((_, since)) => FLUSH.saturating_sub(since.elapsed()),
                None => HEARTBEAT.saturating_sub(self.wrote.elapsed()),
            };
            match lines.recv_timeout(wait) {
                Ok(lines) => lines.iter().for_each(|line| self.take(line)),
                Err(RecvTimeoutError::Timeout) if self.part.is_none() => {
                    let empty = Part::new(self.next);
                    self.try_write(empty, false);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    let end = Part::new(self.next);
                    self.try_write(end, true);
                    let _said_elsewhere = self.current.map(|file| file.sync_data());
                    return;
                }
            }
            if self.part.as_ref().is_some_and(|(_, since)| since.elapsed() >= FLUSH) {
                self.flush();
            }
        }
    }

    fn take(&mut self, line: &LogEntry) {
        // Events before this one are missing: the numbers in a block are contiguous.
        if self.part.as_ref().is_some_and(|(part, _)| part.next() != line.seq) {
            self.flush();
        }
        let (part, _) = self.part.get_or_insert_with(|| (Part::new(line.seq), Instant::now()));
        if let Err(error) = part.push(line) {
            self.part = None;
            self.trouble(1, &error);
            return;
        }
        self.next = line.seq + 1;
        if part.raw() >= LARGEST {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some((part, _)) = self.part.take() {
            self.try_write(part, false);
        }
    }

    fn try_write(&mut self, part: Part, end: bool) {
        let events = u64::from(part.events());
        match self.write(part, end) {
            Ok(()) => self.recovered(events),
            Err(error) => {
                // What was written of the block is cut off or stays behind as an unreadable end; the next
                // goes into a new segment.
                self.current = None;
                self.trouble(events, &error);
            }
        }
        self.wrote = Instant::now();
    }

    fn write(&mut self, part: Part, end: bool) -> io::Result<()> {
        let (events, first) = (u64::from(part.events()), part.next() - u64::from(part.events()));
        let now = clock::wall_time();
        let packed = part.finish(self.run, now, end)?;
        let length = packed.len() as u64;
        if self.segments.back().is_some_and(|current| current.bytes + length > self.folder.limit / SEGMENTS) {
            self.current = None;
        }
        self.make_room(length)?;
        let file = match &mut self.current {
            Some(file) => file,
            None => {
                let (path, file) = self.folder.create(first, now)?;
                self.segments.push_back(Segment { path, bytes: 0, events: 0, first: None });
                self.current.insert(Arc::new(file))
            }
        };
        let written = (&**file).write_all(&packed);
        self.syncer.sync(file);
        let Some(segment) = self.segments.back_mut() else { return written };
        if let Err(error) = written {
            // If even that fails, reading reports the rest of the segment as unreadable.
            let _cut = file.set_len(segment.bytes);
            return Err(error);
        }
        segment.bytes += length;
        segment.events += events;
        if events > 0 {
            segment.first.get_or_insert(first);
        }
        self.tell(|state| state.written += events);
        Ok(())
    }

    /// Deletes the oldest segments until that many bytes fit.
    fn make_room(&mut self, length: u64) -> io::Result<()> {
        let all = |segments: &VecDeque<Segment>| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        let keep = usize::from(self.current.is_some());
        while self.segments.len() > keep && all(&self.segments) + length > self.folder.limit {
            let Some(oldest) = self.segments.front() else { break };
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let evicted = oldest.events;
            self.segments.pop_front();
            self.tell(|state| state.evicted += evicted);
        }
        Ok(())
    }

    fn trouble(&mut self, events: u64, error: &io::Error) {
        let message = format!("{CANNOT}: {error}");
        if !self.failing {
            tracing::warn!("{message}");
        }
        self.failing = true;
        self.tell(|state| {
            state.unwritable += events;
            state.trouble.retain(|trouble| !trouble.starts_with(CANNOT));
            state.trouble.push(message);
        });
    }

    fn recovered(&mut self, events: u64) {
        if self.failing && events > 0 {
            self.failing = false;
            tracing::info!("the event log is written again");
            self.tell(|state| state.trouble.retain(|trouble| !trouble.starts_with(CANNOT)));
        }
    }

    fn tell(&self, change: impl FnOnce(&mut JournalState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.bytes = self.segments.iter().map(|segment| segment.bytes).sum();
        state.segments = self.segments.len() as u64;
        state.oldest = self.segments.iter().find_map(|segment| segment.first);
    }
}

/// Syncs written data to the disk in a thread of its own.
/// Data that are written survive a kill without that, so a slow disk must not delay the next write.
struct Syncer {
    sender: Option<SyncSender<Arc<File>>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    fn start() -> io::Result<Self> {
        let (sender, files) = sync_channel::<Arc<File>>(1);
        let thread = std::thread::Builder::new().name("event-log-sync".to_owned()).spawn(move || {
            for file in files {
                if let Err(error) = file.sync_data() {
                    tracing::warn!(%error, "the event log cannot be synced: a loss of power would take more of it");
                }
            }
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Requests a sync. A request that is already waiting covers this one.
    fn sync(&self, file: &Arc<File>) {
        if let Some(sender) = &self.sender {
            let _one_waits = sender.try_send(Arc::clone(file));
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.sender.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Prefix of every message about a failed write.
const CANNOT: &str = "event log: events cannot be written";
