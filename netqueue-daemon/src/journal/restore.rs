//! Reads back the newest events of earlier runs, as many as memory takes, and data on those runs.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use netqueue_domain::{Earlier, EarlierRun, EventLog, JournalState, Timestamp};

use super::{JournalSettings, block_header::BlockHeader, folder::Folder, segment};

/// Runs that are remembered; restarts before them are no longer distinguished.
const RUNS: usize = 64;
/// Approximate memory of an event in bytes.
const EVENT: usize = 72;

struct Place {
    path: PathBuf,
    offset: u64,
    mark: BlockHeader,
}

/// Reads the newest events of earlier runs, and the state of the log.
pub(super) fn read_back(folder: &Folder, settings: &JournalSettings) -> io::Result<(EventLog, JournalState)> {
    let mut state = JournalState::default();
    let mut places = Vec::new();
    for path in folder.segments()? {
        let (marks, unreadable) = segment::marks(&path)?;
        state.segments += 1;
        state.bytes += fs::metadata(&path)?.len();
        state.unreadable_bytes += unreadable;
        places.extend(marks.into_iter().map(|(offset, mark)| Place { path: path.clone(), offset, mark }));
    }
    state.oldest =
        places.iter().find(|place| place.mark.events.get() > 0).map(|place| place.mark.first.get());
    let runs = runs(&places);
    let last = runs.iter().map(|run| run.last).max().unwrap_or(0);
    let mut earlier = Earlier::new(runs);
    let mut events = EventLog::new(settings.memory);
    let mut file: Option<(&Path, File)> = None;
    for place in &places[first_that_fits(&places, settings.memory)..] {
        if file.as_ref().is_none_or(|(path, _)| *path != place.path) {
            file = Some((&place.path, File::open(&place.path)?));
        }
        let Some((_, file)) = &mut file else { continue };
        match segment::lines(file, place.offset, &place.mark) {
            Ok(lines) => {
                let run = Timestamp::from_nanos(place.mark.run.get());
                state.read_back += lines.len() as u64;
                for line in lines {
                    earlier.name(run, line.event.account, line.named());
                    events.remember(line.seq, line.event);
                }
            }
            Err(error) => {
                state.unreadable_bytes += u64::from(place.mark.size.get());
                let (path, lost) = (place.path.display(), place.mark.events.get());
                state.trouble.push(format!(
                    "event log: a part of {path} is damaged and left out, {lost} events of an earlier run with it: {error}"
                ));
            }
        }
    }
    // Nobody reads a hundred of these; the extent of the damage is counted.
    state.trouble.truncate(5);
    events.begin(earlier, last);
    Ok((events, state))
}

/// Returns the index of the first block to read so that memory is filled.
/// Events of that block which exceed the memory are evicted again.
fn first_that_fits(places: &[Place], memory: usize) -> usize {
    let mut events = 0;
    let newest_first = places.iter().enumerate().rev();
    let mut fitting = newest_first.take_while(|(_, place)| {
        let fits = events * EVENT <= memory;
        events += place.mark.events.get() as usize;
        fits
    });
    fitting.by_ref().last().map_or(places.len(), |(index, _)| index)
}

fn runs(places: &[Place]) -> Vec<EarlierRun> {
    let mut runs: Vec<EarlierRun> = Vec::new();
    for mark in places.iter().map(|place| &place.mark) {
        let (attached, wrote) =
            (Timestamp::from_nanos(mark.run.get()), Timestamp::from_nanos(mark.written.get()));
        let last = mark.next().saturating_sub(1);
        match runs.last_mut() {
            // A run first writes a block without events, so it is recorded from its beginning.
            Some(run) if run.attached == attached && !run.ended => {
                (run.wrote, run.last, run.ended) = (wrote, run.last.max(last), mark.end.get() != 0);
            }
            Some(_) | None => {
                runs.push(EarlierRun { attached, began: wrote, wrote, last, ended: mark.end.get() != 0 });
            }
        }
    }
    let surplus = runs.len().saturating_sub(RUNS);
    runs.drain(..surplus);
    runs
}
