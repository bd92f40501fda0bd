//! Tests of giving slots back: after the grace period, when the owner is gone, with every count kept.
//!
//! The maps are files mapped into memory, and a machine imitates what the control programs do to them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs::File,
    io,
    time::{Duration, Instant},
};

use netqueue_common::{CounterId, CounterRow, ListenerKey, Namespace, SlotMeta, Tallies};
use netqueue_domain::{AccountKey, Counts, DroppedAckCacheUse, KernelCounter, Timestamp};
use tokio::sync::oneshot;
use zerocopy::{FromBytes, IntoBytes};

use super::{
    control::{ControlStatus, SlotControl, SlotRef},
    counters::{Counters, Reading},
    mapped::Mapped,
    reclaim::Reclaimer,
    slots::Slots,
};

/// Slots for listeners, and the first slots of the other purposes.
const LISTENERS: u32 = 16;
const ENDPOINT: u32 = LISTENERS;
const OTHER: u32 = LISTENERS * 2;
const SLOTS: usize = OTHER as usize + 64;
/// Rows of counts per slot.
const ROWS: usize = 2;
const POD: Namespace = Namespace { inode: 4_026_532_201, generation: 1 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Position of a slot's end and of its generation and state, in words.
const CLOSED: usize = size_of::<SlotMeta>() / 8 - 2;
const STATE: usize = CLOSED + 1;

/// Kernel side of the maps.
struct Machine {
    accounts: Mapped<SlotMeta>,
    counts: Mapped<CounterRow>,
    /// Files behind the maps, which the daemon maps as well.
    files: [File; 3],
    /// Slots of listeners whose sockets no longer listen, without the kernel side having seen that.
    missed: RefCell<BTreeSet<u32>>,
    grace: RefCell<Vec<oneshot::Sender<io::Result<()>>>>,
    /// Status of a release: done, the stack is busy, or the program could not run.
    release: Cell<Release>,
    released: RefCell<Vec<SlotRef>>,
    charged: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    Works,
    StackBusy,
    CannotRun,
}

fn array<T: FromBytes>(elements: usize) -> (File, Mapped<T>) {
    let file = tempfile::tempfile().expect("a file");
    file.set_len((elements * size_of::<T>()) as u64).expect("its size");
    let mapped = Mapped::writable(&file, elements).expect("mapped");
    (file, mapped)
}

fn word(generation: u32, state: u32) -> u64 {
    u64::read_from_bytes([generation, state].as_bytes()).expect("eight bytes")
}

fn key(sock: u64, port: u16) -> ListenerKey {
    ListenerKey { sock, netns: POD, port, family: 2, addr: [0; 16], reserved: 0 }
}

impl Machine {
    fn new() -> Self {
        let (accounts_file, accounts) = array::<SlotMeta>(SLOTS);
        let (counts_file, counts) = array::<CounterRow>(SLOTS * ROWS);
        let files = [accounts_file, counts_file, array::<Tallies>(1).0];
        Self {
            accounts,
            counts,
            files,
            missed: RefCell::default(),
            grace: RefCell::default(),
            release: Cell::new(Release::Works),
            released: RefCell::default(),
            charged: Cell::new(0),
        }
    }

    fn counters(&self) -> Counters {
        let [accounts, counts, tallies] = &self.files;
        Counters::new(
            Mapped::new(accounts, SLOTS).expect("mapped"),
            Mapped::new(counts, SLOTS * ROWS).expect("mapped"),
            Mapped::new(tallies, 1).expect("mapped"),
            ROWS,
            DroppedAckCacheUse::default(),
        )
    }

    fn state(&self, slot: u32) -> (u32, u32) {
        let meta = self.accounts.get(slot as usize);
        (meta.generation, meta.state)
    }

    /// Makes `key` the owner of a free slot.
    fn open(&self, slot: u32, key: ListenerKey) {
        let (generation, state) = self.state(slot);
        assert_eq!(state, SlotMeta::FREE, "only a free slot has a new owner");
        assert!(self.cells(slot).all(|cell| cell == 0), "a free slot has no counts");
        let meta = SlotMeta { key, inode: 0, closed: 0, generation, state: SlotMeta::USED };
        for (index, bytes) in meta.as_bytes().chunks(8).enumerate() {
            self.accounts.write(slot as usize, index, u64::read_from_bytes(bytes).expect("a word"));
        }
    }

    fn close(&self, slot: u32) {
        self.accounts.write(slot as usize, CLOSED, 1);
    }

    /// Charges drops to a slot, on one CPU and another in turn.
    fn charge(&self, slot: u32, drops: u64) {
        assert_ne!(self.state(slot).1, SlotMeta::FREE, "a free slot is charged");
        let row = slot as usize * ROWS + self.charged.get() as usize % ROWS;
        let cell = CounterId::ListenDrops as usize;
        let before = self.counts.words(row, cell..cell + 1).next().expect("a word");
        self.counts.write(row, cell, before + drops);
        self.charged.set(self.charged.get() + drops);
    }

    fn cells(&self, slot: u32) -> impl Iterator<Item = u64> {
        let rows = slot as usize * ROWS..(slot as usize + 1) * ROWS;
        rows.flat_map(|row| self.counts.words(row, 0..CounterId::COUNT))
    }

    fn end_grace(&self, how: io::Result<()>) {
        self.grace.borrow_mut().pop().expect("somebody waits").send(how).expect("it is waited for");
    }

    fn clear(&self, SlotRef { slot, generation }: SlotRef) {
        for row in slot as usize * ROWS..(slot as usize + 1) * ROWS {
            (0..CounterId::COUNT).for_each(|cell| self.counts.write(row, cell, 0));
        }
        self.accounts.write(slot as usize, CLOSED, 0);
        self.accounts.write(slot as usize, STATE, word(generation + 1, SlotMeta::FREE));
    }
}

impl SlotControl for &Machine {
    fn examine(self, SlotRef { slot, .. }: SlotRef) -> ControlStatus {
        if !self.missed.borrow_mut().remove(&slot) {
            return ControlStatus::Done;
        }
        self.close(slot);
        ControlStatus::Closed
    }

    fn retire(self, SlotRef { slot, generation }: SlotRef) -> ControlStatus {
        if self.state(slot) != (generation, SlotMeta::USED) {
            return ControlStatus::Stale;
        }
        self.accounts.write(slot as usize, STATE, word(generation, SlotMeta::RETIRED));
        ControlStatus::Done
    }

    fn begin_grace(self) -> oneshot::Receiver<io::Result<()>> {
        let (done, grace) = oneshot::channel();
        self.grace.borrow_mut().push(done);
        grace
    }

    fn release(self, slot_ref: SlotRef) -> ControlStatus {
        assert!(self.grace.borrow().is_empty(), "released during a grace period");
        let SlotRef { slot, generation } = slot_ref;
        let retired = self.state(slot) == (generation, SlotMeta::RETIRED);
        let cleared = self.state(slot) == (generation + 1, SlotMeta::FREE);
        match self.release.get() {
            Release::CannotRun => return ControlStatus::Busy,
            Release::Works | Release::StackBusy if retired => self.clear(slot_ref),
            Release::Works | Release::StackBusy if cleared => {}
            Release::Works | Release::StackBusy => return ControlStatus::Stale,
        }
        if self.release.get() == Release::StackBusy {
            return ControlStatus::Busy;
        }
        self.released.borrow_mut().push(slot_ref);
        ControlStatus::Done
    }
}

/// Daemon on a machine. Checks at every reading that no count is lost or doubled.
struct Daemon<'a> {
    machine: &'a Machine,
    counters: Counters,
    reclaimer: Reclaimer,
    now: Instant,
}

impl<'a> Daemon<'a> {
    fn new(machine: &'a Machine) -> Self {
        let reclaimer = Reclaimer::new(Slots::new(Some(LISTENERS)), true);
        Self { machine, counters: machine.counters(), reclaimer, now: Instant::now() }
    }

    fn read(&mut self) -> Reading {
        let reading = self.counters.read(Timestamp::default());
        let sum: u64 = reading.sums().values().map(|sum| sum.get(KernelCounter::ListenDrops)).sum();
        assert_eq!(sum, self.machine.charged.get(), "each charge is counted once");
        reading
    }

    /// Reads, and goes one step further after some time without charges.
    fn step(&mut self, later: Duration) -> Vec<(AccountKey, Counts)> {
        self.read();
        self.now += later;
        let settled = self.reclaimer.step(self.machine, &mut self.counters, self.now);
        self.read();
        settled
    }

    fn used(&self) -> u64 {
        self.reclaimer.room(&self.counters).iter().map(|purpose| purpose.used).sum()
    }

    fn given_back(&self) -> u64 {
        self.reclaimer.room(&self.counters).iter().map(|purpose| purpose.given_back).sum()
    }
}

fn drops(settled: &[(AccountKey, Counts)]) -> Vec<u64> {
    settled.iter().map(|(_, counts)| counts.kernel().get(KernelCounter::ListenDrops)).collect()
}

#[test]
fn a_closed_listener_gives_its_slot_back_after_the_grace_period_with_late_charges_counted() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    machine.open(0, key(1, 80));
    machine.charge(0, 5);
    machine.close(0);
    assert!(daemon.step(SECOND / 2).is_empty());
    assert_eq!(machine.state(0), (0, SlotMeta::USED), "calls under way are given a moment");
    assert!(daemon.step(SECOND).is_empty());
    assert_eq!(machine.state(0), (0, SlotMeta::RETIRED));

    // A program that found the slot before it was retired.
    machine.charge(0, 2);
    assert!(daemon.step(MINUTE).is_empty(), "nothing is final during the grace period");
    assert!(machine.released.borrow().is_empty() && daemon.reclaimer.is_busy());
    machine.charge(0, 1);
    machine.end_grace(Ok(()));
    let settled = daemon.step(SECOND);
    assert_eq!(drops(&settled), [8]);
    assert!(matches!(settled[0].0, AccountKey::Listener { .. }));
    assert_eq!((machine.state(0), daemon.used(), daemon.given_back()), ((1, SlotMeta::FREE), 0, 1));
    assert!(!daemon.reclaimer.is_busy());

    // The next owner starts at zero, and is another account.
    machine.open(0, key(2, 80));
    machine.charge(0, 3);
    let reading = daemon.read();
    assert_eq!(drops(&reading.accounts), [3]);
    assert_ne!(reading.accounts[0].0, settled[0].0);
}

#[test]
fn a_listener_that_listens_keeps_its_slot_however_long_nothing_happens() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    machine.open(0, key(1, 80));
    machine.open(1, key(2, 81));
    machine.charge(1, 1);
    assert!((0..10).all(|_| daemon.step(10 * MINUTE).is_empty()) && machine.grace.borrow().is_empty());
    // One whose end the kernel side missed is found by examining it.
    machine.missed.borrow_mut().insert(1);
    daemon.step(MINUTE);
    daemon.step(MINUTE);
    assert_eq!((machine.state(0).1, machine.state(1).1), (SlotMeta::USED, SlotMeta::RETIRED));
}

#[test]
fn an_account_that_has_another_slot_while_one_is_given_back_counts_both() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    machine.open(ENDPOINT, key(0, 80));
    machine.charge(ENDPOINT, 4);
    daemon.step(MINUTE);
    daemon.step(MINUTE);
    assert_eq!(machine.state(ENDPOINT).1, SlotMeta::RETIRED);
    machine.open(ENDPOINT + 1, key(0, 80));
    machine.charge(ENDPOINT + 1, 2);
    machine.charge(ENDPOINT, 1);
    assert_eq!(drops(&daemon.read().accounts), [5, 2]);
    machine.end_grace(Ok(()));
    assert_eq!(drops(&daemon.step(SECOND)), [5]);
    assert_eq!(drops(&daemon.read().accounts), [2]);
}

#[test]
fn without_a_grace_period_nothing_is_given_back_and_it_is_waited_for_again() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    machine.open(0, key(1, 80));
    machine.charge(0, 5);
    machine.close(0);
    daemon.step(MINUTE);
    daemon.step(MINUTE);
    machine.end_grace(Err(io::Error::other("no memory")));
    assert!(daemon.step(MINUTE).is_empty());
    // The thread that waited is gone.
    machine.grace.borrow_mut().clear();
    assert!(daemon.step(MINUTE).is_empty());
    machine.charge(0, 1);
    machine.end_grace(Ok(()));
    assert_eq!(drops(&daemon.step(MINUTE)), [6]);
    assert_eq!(*machine.released.borrow(), [SlotRef { slot: 0, generation: 0 }]);
}

#[test]
fn a_slot_that_cannot_be_freed_at_once_is_settled_once_and_freed_later() {
    for obstacle in [Release::StackBusy, Release::CannotRun] {
        let machine = Machine::new();
        let mut daemon = Daemon::new(&machine);
        machine.open(0, key(1, 80));
        machine.charge(0, 5);
        machine.close(0);
        daemon.step(MINUTE);
        daemon.step(MINUTE);
        machine.release.set(obstacle);
        machine.end_grace(Ok(()));
        assert_eq!(drops(&daemon.step(MINUTE)), [5]);
        for _ in 0..3 {
            assert!(daemon.step(MINUTE).is_empty());
            assert_eq!((daemon.used(), daemon.given_back()), (1, 0));
            assert!(daemon.reclaimer.is_busy() && daemon.read().accounts.is_empty());
        }
        machine.release.set(Release::Works);
        assert!(daemon.step(MINUTE).is_empty());
        assert_eq!((daemon.used(), daemon.given_back()), (0, 1));
    }
}

#[test]
fn a_slot_that_changed_hands_since_it_was_read_is_left_alone() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    machine.open(ENDPOINT, key(0, 80));
    daemon.read();
    // Another owner since: the daemon knows the one before.
    machine.clear(SlotRef { slot: ENDPOINT, generation: 0 });
    machine.open(ENDPOINT, key(0, 81));
    let later = daemon.now + 2 * MINUTE;
    assert!(daemon.reclaimer.step(&machine, &mut daemon.counters, later).is_empty());
    assert!(machine.grace.borrow().is_empty());
    assert_eq!(machine.state(ENDPOINT), (1, SlotMeta::USED));
}

#[test]
fn where_few_slots_are_left_nothing_is_waited_for_but_the_grace_period() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    for slot in 0..LISTENERS - 1 {
        machine.open(slot, key(u64::from(slot) + 1, 80));
        machine.charge(slot, 1);
        machine.open(ENDPOINT + slot, key(0, 1000 + slot as u16));
        machine.charge(ENDPOINT + slot, 1);
        daemon.read();
    }
    machine.close(3);
    daemon.step(Duration::ZERO);
    let retired = |slots: std::ops::Range<u32>| {
        slots.filter(|slot| machine.state(*slot).1 == SlotMeta::RETIRED).collect::<Vec<_>>()
    };
    assert_eq!(retired(0..LISTENERS), [3], "those that listen keep theirs");
    assert_eq!(retired(ENDPOINT..OTHER), [16, 17, 18, 19], "the quarter that was idle longest");
    assert!(machine.released.borrow().is_empty());
    machine.end_grace(Ok(()));
    assert_eq!(drops(&daemon.step(Duration::ZERO)), [1; 5]);
    assert_eq!(daemon.given_back(), 5);
}

#[test]
fn where_no_grace_period_can_be_waited_for_no_slot_is_touched() {
    let machine = Machine::new();
    let mut daemon = Daemon::new(&machine);
    daemon.reclaimer = Reclaimer::new(Slots::new(Some(LISTENERS)), false);
    machine.open(0, key(1, 80));
    machine.charge(0, 5);
    machine.close(0);
    assert!(daemon.step(MINUTE).is_empty() && daemon.step(MINUTE).is_empty());
    assert_eq!(machine.state(0), (0, SlotMeta::USED));
    assert!(daemon.reclaimer.trouble().is_some() && !daemon.reclaimer.is_busy());
}
