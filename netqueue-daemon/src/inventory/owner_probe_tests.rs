//! Tests on a /proc made of files, with processes that stop, run out of descriptors, or are throttled.

use std::os::unix::fs::symlink;

use netqueue_domain::{Hindrance, Unknown};

use super::*;

struct Machine {
    root: tempfile::TempDir,
    probe: OwnerProbe,
    begun: Instant,
    seconds: u64,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let probe = OwnerProbe::new(root.path().join("proc"), root.path().join("cgroup"));
        Self { root, probe, begun: Instant::now(), seconds: 0 }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn process(&self, pid: u32, state: char, open: u32) {
        let status = format!("Name:\tweb\nState:\t{state} (so)\nTracerPid:\t0\nFDSize:\t64\nThreads:\t1\n");
        self.write(&format!("proc/{pid}/status"), &status);
        self.write(&format!("proc/{pid}/stat"), &format!("{pid} (web) {state} 1 0 19\n"));
        self.write(&format!("proc/{pid}/task/{pid}/stat"), &format!("{pid} (web) {state} 1 0 19\n"));
        self.write(
            &format!("proc/{pid}/limits"),
            "Max open files            4                    9      files\n",
        );
        self.write(&format!("proc/{pid}/cgroup"), "0::/web\n");
        let fd = self.root.path().join(format!("proc/{pid}/fd"));
        fs::create_dir_all(&fd).expect("made");
        for number in 0..open {
            let _there = symlink("socket:[1]", fd.join(number.to_string()));
        }
    }

    /// Examines after 2 s, with one listener for each of these processes and so many connections waiting.
    fn after_two_seconds(&mut self, waiting: &[(u32, u32)]) -> Vec<(SocketInode, Arc<OwnerState>)> {
        self.seconds += 2;
        let at = Timestamp::from_nanos(self.seconds * 1_000_000_000);
        let now = self.begun + Duration::from_secs(self.seconds);
        let queue = |length| QueueState { length, limit: 8 };
        let queues =
            waiting.iter().map(|(pid, length)| (SocketInode(u64::from(*pid)), queue(*length))).collect();
        let owners = |SocketInode(pid): SocketInode| {
            let owner = Owner {
                pid: pid as u32,
                started: 1,
                comm: "web".into(),
                executable: Err(Unknown::NotYet),
                place: Err(Unknown::NotYet),
                ended: false,
            };
            Ok(Arc::from([owner]))
        };
        self.probe.examine(&queues, &owners, (now, at))
    }
}

fn found(states: &[(SocketInode, Arc<OwnerState>)]) -> Vec<Hindrance> {
    states.iter().flat_map(|(_, state)| state.hindrances()).collect()
}

#[test]
fn a_queue_that_waits_twice_or_is_full_has_its_owner_examined_and_an_empty_one_has_not() {
    let mut machine = Machine::new();
    machine.process(10, 'T', 1);
    assert!(machine.after_two_seconds(&[(10, 0)]).is_empty());
    assert!(machine.after_two_seconds(&[(10, 3)]).is_empty(), "it may be a moment");
    let states = machine.after_two_seconds(&[(10, 3)]);
    assert_eq!(found(&states), [Hindrance::Stopped]);
    assert_eq!(states[0].1.processes[0].stop_signal, Some(19));
    assert_eq!(
        found(&Machine { seconds: 0, ..machine }.after_two_seconds(&[(10, 9)])),
        [],
        "not twice in 2 s"
    );
}

#[test]
fn descriptors_are_counted_against_the_limit() {
    let mut machine = Machine::new();
    machine.process(10, 'S', 3);
    assert_eq!(found(&machine.after_two_seconds(&[(10, 9)])), []);
    machine.process(10, 'S', 4);
    let states = machine.after_two_seconds(&[(10, 9)]);
    assert_eq!(found(&states), [Hindrance::OutOfFiles]);
    let process = &states[0].1.processes[0];
    assert_eq!((process.open_files, process.file_limit), (Some(4), Some(4)));
}

#[test]
fn descriptors_of_this_process_are_as_many_as_it_has() {
    let counted = || open_files(Path::new("/proc/self/fd"), false).expect("its own");
    let _files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").expect("it is there")).collect();
    assert!(counted() >= 50);
    let probe = OwnerProbe::new("/proc", "/sys/fs/cgroup");
    if probe.sized {
        assert!(open_files(Path::new("/proc/self/fd"), true).is_some_and(|open| open >= 50));
    }
}

#[test]
fn a_moment_of_uninterruptible_sleep_is_ordinary_and_a_longer_one_is_not() {
    let mut machine = Machine::new();
    machine.process(10, 'D', 1);
    assert!(!found(&machine.after_two_seconds(&[(10, 9)])).contains(&Hindrance::Blocked));
    assert!(found(&machine.after_two_seconds(&[(10, 9)])).contains(&Hindrance::Blocked));
}

#[test]
fn throttling_and_oom_kills_are_those_between_two_examinations() {
    let mut machine = Machine::new();
    machine.process(10, 'S', 1);
    let stat = |machine: &Machine, periods: u32, throttled: u32, kills: u32| {
        machine.write("cgroup/web/cgroup.events", "populated 1\nfrozen 0\n");
        machine.write("cgroup/web/cpu.max", "50000 100000\n");
        machine.write("cgroup/web/cpu.stat", &format!("nr_periods {periods}\nnr_throttled {throttled}\n"));
        machine.write("cgroup/web/memory.events", &format!("oom_kill {kills}\n"));
    };
    stat(&machine, 1000, 900, 5);
    let first = machine.after_two_seconds(&[(10, 9)]);
    assert_eq!((first[0].1.cgroup.throttling, first[0].1.cgroup.oom), (None, None));
    stat(&machine, 1040, 931, 6);
    let states = machine.after_two_seconds(&[(10, 9)]);
    let cgroup = &states[0].1.cgroup;
    assert_eq!(cgroup.throttling, Some(Throttling { throttled: 31, periods: 40 }));
    assert_eq!(cgroup.oom, Some(OomKills { kills: 1, noticed: states[0].1.at }));
    let later = machine.after_two_seconds(&[(10, 9)]);
    assert_eq!(later[0].1.cgroup.oom, cgroup.oom, "the kill is remembered with its time");
    assert_eq!(later[0].1.cgroup.throttling, None, "nothing ran meanwhile");
}

#[test]
fn no_more_processes_are_examined_than_may_be_and_those_of_the_fullest_queues_come_first() {
    let mut machine = Machine::new();
    (1..=20).for_each(|pid| machine.process(pid, 'S', 1));
    let waiting: Vec<_> = (1..=20).map(|pid| (pid, 8 + pid)).collect();
    let states = machine.after_two_seconds(&waiting);
    let examined: Vec<_> = states.iter().map(|(SocketInode(pid), _)| *pid).collect();
    assert_eq!(examined, (5..=20).rev().collect::<Vec<_>>());
}
