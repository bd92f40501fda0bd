//! Tests that the log is read back, whatever ended the daemon, and stays within its limit.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use netqueue_domain::{
    AccountKey, DropKind, Endpoint, Event, Named, Netns, Peer, QueueState, Queues, SocketId, WallClock, What,
};

use super::*;

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_790_000_000 + second) * 1_000_000_000)
}

fn event(number: u64) -> Event {
    let place =
        Endpoint { netns: Netns::at_attach(4_026_531_840), addr: Ipv4Addr::UNSPECIFIED.into(), port: 80 };
    Event {
        time: at(number),
        account: AccountKey::Listener { socket: SocketId(number % 3), at: place },
        local_port: 80,
        peer: Some(Peer {
            addr: Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761) as u32).into(),
            port: 9,
        }),
        what: What::Drop(DropKind::AcceptQueueFullSyn),
        kernel_reason: None,
        queues: Queues { accept: Some(QueueState { length: 9, limit: 8 }), syn: None },
        cpu: 1,
        age: None,
    }
}

fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    let named = || Named { process: "nginx".into(), netns: "host".into() };
    numbers.map(|number| LogEntry::new(number, named(), event(number), WallClock::default())).collect()
}

fn settings(directory: &Path, limit: u64) -> JournalSettings {
    JournalSettings { directory: directory.to_owned(), limit, memory: 1 << 20 }
}

/// Runs a daemon that writes these events in batches and ends cleanly.
fn run(directory: &Path, attached: Timestamp, numbers: std::ops::RangeInclusive<u64>) -> EventLog {
    let (journal, past) = open(&settings(directory, 1 << 30), attached).expect("the folder is ours");
    numbers
        .clone()
        .step_by(500)
        .for_each(|first| journal.append(lines(first..=(first + 499).min(*numbers.end()))));
    past
}

fn held(events: &EventLog) -> Vec<u64> {
    events
        .after(0)
        .map(|(number, event)| {
            assert_eq!(event, self::event(number));
            number
        })
        .collect()
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
    segments.sort();
    segments
}

#[test]
fn a_restart_goes_on_where_the_run_before_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(run(folder.path(), at(1), 1..=1000).is_empty());
    let past = run(folder.path(), at(2), 1001..=1500);
    assert!(held(&past).into_iter().eq(1..=1000));
    assert_eq!((past.appended(), past.before_this_run()), (1000, 1000));
    let (_journal, past) = open(&settings(folder.path(), 1 << 30), at(3)).expect("it is free again");
    assert!(held(&past).into_iter().eq(1..=1500));
    let runs: Vec<_> = past.earlier().runs().iter().map(|run| (run.attached, run.last, run.ended)).collect();
    assert_eq!(runs, [(at(1), 1000, true), (at(2), 1500, true)]);
    let named = past.earlier().named(1200, &event(1200).account).expect("it was named");
    assert_eq!((&*named.process, &*named.netns), ("nginx", "host"));
}

#[test]
fn a_log_cut_off_anywhere_is_read_up_to_there_and_says_that_the_run_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        // Each batch is a block of its own: a number is missing between them.
        let (journal, _) = open(&settings(folder.path(), 1 << 30), at(1)).expect("a folder");
        (0..20_u64).for_each(|part| journal.append(lines(part * 101 + 1..=part * 101 + 100)));
    }
    let whole = fs::read(&segments(folder.path())[0]).expect("a segment");
    for length in (0..whole.len()).step_by(991) {
        let cut = tempfile::tempdir().expect("a folder");
        fs::write(cut.path().join(segments(folder.path())[0].file_name().expect("a name")), &whole[..length])
            .expect("written");
        let (journal, past) = open(&settings(cut.path(), 1 << 30), at(2)).expect("a folder");
        let held = held(&past);
        let expected = (0..20_u64).flat_map(|part| part * 101 + 1..=part * 101 + 100);
        assert!(expected.take(held.len()).eq(held.iter().copied()) && held.len().is_multiple_of(100));
        assert!(past.earlier().runs().iter().all(|run| !run.ended), "cut at {length} of {}", whole.len());
        let state = journal.state();
        assert_eq!(state.read_back, held.len() as u64);
        assert!(state.unreadable_bytes < 3000 && state.trouble.is_empty(), "{state:?}");
    }
}

#[test]
fn a_damaged_part_is_left_out_and_said_and_the_others_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let (journal, _) = open(&settings(folder.path(), 1 << 30), at(1)).expect("a folder");
        (0..3_u64).for_each(|part| journal.append(lines(part * 101 + 1..=part * 101 + 100)));
    }
    let path = &segments(folder.path())[0];
    let mut bytes = fs::read(path).expect("a segment");
    let (marks, _) = segment::marks(path).expect("marks");
    let (offset, mark) = marks.iter().filter(|(_, mark)| mark.events.get() > 0).nth(1).expect("the second");
    bytes[*offset as usize + mark.size.get() as usize / 2] ^= 0x10;
    fs::write(path, bytes).expect("written");
    let (journal, past) = open(&settings(folder.path(), 1 << 30), at(2)).expect("a folder");
    assert!(held(&past).into_iter().eq((1..=100).chain(203..=302)));
    let trouble = journal.state().trouble;
    assert!(trouble.len() == 1 && trouble[0].contains("100 events of an earlier run"), "{trouble:?}");
}

#[test]
fn the_log_stays_within_its_limit_and_keeps_the_newest() {
    const LIMIT: u64 = 1 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(&settings(folder.path(), LIMIT), at(1)).expect("a folder");
    let mut given = 0;
    while journal.state().evicted < 50_000 {
        let waiting = |state: &JournalState| given - state.written - state.behind;
        if waiting(&journal.state()) < 10_000 {
            journal.append(lines(given + 1..=given + 500));
            given += 500;
        }
        let taken: u64 = segments(folder.path())
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|file| file.len())
            .sum();
        assert!(taken <= LIMIT, "{taken}");
    }
    drop(journal);
    let (journal, past) = open(&settings(folder.path(), LIMIT), at(2)).expect("a folder");
    let held = held(&past);
    assert!(held.len() > 5000 && held.last() == Some(&given), "{} of {given}", held.len());
    let state = journal.state();
    assert!(state.oldest.is_some_and(|oldest| oldest > 50_000) && state.bytes <= LIMIT, "{state:?}");
}

#[test]
fn more_is_on_disk_than_memory_holds_and_the_newest_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    run(folder.path(), at(1), 1..=30_000);
    let small = JournalSettings { memory: 1 << 17, ..settings(folder.path(), 1 << 30) };
    let (_journal, past) = open(&small, at(2)).expect("a folder");
    let held = held(&past);
    assert!(held.len() < 3000 && past.appended() == 30_000, "{} of {}", held.len(), past.appended());
    assert_eq!(past.evicted() + held.len() as u64, 30_000);
}

#[test]
fn a_log_has_one_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = open(&settings(folder.path(), 1 << 30), at(1)).expect("a folder");
    let error = open(&settings(folder.path(), 1 << 30), at(2)).expect_err("it is taken").to_string();
    assert!(error.contains("another netqueue") && error.contains("--event-log"), "{error}");
}

#[test]
fn a_disk_that_refuses_is_counted_and_said_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let (journal, _) = open(&settings(&path, 1 << 20), at(1)).expect("a folder");
    let wait = |done: &dyn Fn(&JournalState) -> bool| {
        let start = std::time::Instant::now();
        while !done(&journal.state()) {
            assert!(start.elapsed().as_secs() < 20, "{:?}", journal.state());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    // The directory is gone, and the next block is too large for the open segment.
    fs::remove_dir_all(&path).expect("it is removed");
    let mut given = 0;
    while journal.state().unwritable == 0 {
        journal.append(lines(given + 1..=given + 500));
        given += 500;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(journal.state().trouble.iter().any(|trouble| trouble.contains("cannot be written")));
    fs::create_dir(&path).expect("it is back");
    let before = journal.state().written;
    journal.append(lines(given + 1..=given + 500));
    wait(&|state| state.written > before && state.trouble.is_empty());
    let state = journal.state();
    assert!(
        state.unwritable > 0 && state.written + state.unwritable + state.behind <= given + 500,
        "{state:?}"
    );
}

#[test]
fn the_log_holds_what_the_wall_clock_showed_also_after_it_was_stepped() {
    let clock = WallClock::stepped_by(-86_400_000_000_000);
    let named = Named { process: "nginx".into(), netns: "host".into() };
    let line = LogEntry::new(7, named, event(7), clock);
    assert_eq!(line.event, Event { time: at(7).before(std::time::Duration::from_secs(86_400)), ..event(7) });
}
