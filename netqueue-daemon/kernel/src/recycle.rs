//! Gives slots back to the kernel side: those of closed listeners, and, where few are left, of the endpoints that have
//! been idle longest. Why no count is lost on the way: netqueue-ebpf/src/slots.rs.

use std::time::{Duration, Instant};

use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    counters::{Counters, Slot},
    grace,
    keeper::{Keeper, Kept, Tenure},
    slots::{Purpose, Slots},
};
use netqueue_domain::{AccountKey, Counts, SlotUse};

/// A closed listener keeps its slot until nothing was charged for this long: what is still under way is then charged to
/// it, rather than to another slot of the same listener.
const QUIET: Duration = Duration::from_secs(1);
/// A port nobody listens on, and a namespace's `other` bucket, keeps its slot for this long after its last charge.
const IDLE: Duration = Duration::from_secs(60);
/// How often listeners are looked at whose end was not noticed.
const EXAMINE: Duration = Duration::from_secs(5);
/// Slots given back together: each costs two system calls of some microseconds.
const BATCH: usize = 1024;

/// Slots on their way back.
pub(super) struct Recycler {
    slots: Slots,
    trouble: Option<String>,
    retired: Vec<Tenure>,
    /// Tells when no program can have one of those in hand any more.
    grace: Option<oneshot::Receiver<std::io::Result<()>>>,
    /// Cleared, and not yet on their stack, which was busy.
    cleared: Vec<Tenure>,
    examined: Instant,
    /// Few slots are free.
    low: bool,
    /// How many were given back, by purpose.
    given_back: [u64; 3],
}

impl Recycler {
    pub(super) fn new(slots: Slots, possible: bool) -> Self {
        let trouble = (!possible).then(|| {
            "slots of closed listeners are not given back: this kernel has no membarrier(MEMBARRIER_CMD_GLOBAL), as with \
             nohz_full; when all are taken, new listeners are counted under port=\"other\""
                .to_owned()
        });
        Self {
            slots,
            trouble,
            retired: Vec::new(),
            grace: None,
            cleared: Vec::new(),
            examined: Instant::now(),
            low: false,
            given_back: [0; 3],
        }
    }

    /// Why nothing is given back, where nothing is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether a slot is one of those of listeners.
    pub(super) fn is_of_listener(&self, slot: u32) -> bool {
        self.slots.purpose(slot) == Purpose::Listener
    }

    /// Whether something is on its way, or there is need to hurry.
    pub(super) const fn is_busy(&self) -> bool {
        self.trouble.is_none() && (self.grace.is_some() || !self.cleared.is_empty() || self.low)
    }

    /// One step further. Returns what slots had counted that are free now.
    pub(super) fn step(&mut self, keeper: Keeper<'_>, counters: &mut Counters) -> Vec<(AccountKey, Counts)> {
        if self.trouble.is_some() {
            return Vec::new();
        }
        let cleared = std::mem::take(&mut self.cleared);
        cleared.into_iter().for_each(|tenure| self.release(keeper, tenure));
        let settled = self.settle(keeper, counters);
        if self.grace.is_none() {
            self.examine(keeper, counters);
            self.retire(keeper, counters);
        }
        settled
    }

    /// Takes the counts of retired slots, where they are final, and frees them.
    fn settle(&mut self, keeper: Keeper<'_>, counters: &mut Counters) -> Vec<(AccountKey, Counts)> {
        match self.grace.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(oneshot::error::TryRecvError::Empty)) => return Vec::new(),
            Some(Ok(Ok(()))) => self.grace = None,
            Some(Ok(Err(error))) => {
                self.wait_again();
                tracing::warn!(%error, "membarrier failed; slots are given back later");
                return Vec::new();
            }
            Some(Err(oneshot::error::TryRecvError::Closed)) => {
                self.wait_again();
                return Vec::new();
            }
        }
        let mut settled = Vec::new();
        for tenure in std::mem::take(&mut self.retired) {
            settled.extend(counters.settle(tenure));
            self.release(keeper, tenure);
        }
        settled
    }

    fn wait_again(&mut self) {
        let (done, grace) = oneshot::channel();
        // Nobody waits where the pipeline has ended meanwhile.
        spawn_blocking(move || drop(done.send(grace::wait())));
        self.grace = Some(grace);
    }

    fn release(&mut self, keeper: Keeper<'_>, tenure: Tenure) {
        match keeper.release(tenure) {
            Kept::Done => self.given_back[self.slots.purpose(tenure.slot) as usize] += 1,
            Kept::Busy => self.cleared.push(tenure),
            Kept::Stale | Kept::Closed => {
                tracing::error!(slot = tenure.slot, "a retired slot changed hands: a defect of netqueue");
            }
        }
    }

    /// Finds closed listeners whose end was not noticed.
    fn examine(&mut self, keeper: Keeper<'_>, counters: &Counters) {
        if self.examined.elapsed() < EXAMINE && !self.low {
            return;
        }
        self.examined = Instant::now();
        for slot in counters.slots().filter(|slot| !slot.is_closed() && !slot.retired) {
            if self.slots.purpose(slot.tenure.slot) == Purpose::Listener {
                // What it finds is in the next reading.
                keeper.examine(slot.tenure);
            }
        }
    }

    fn retire(&mut self, keeper: Keeper<'_>, counters: &Counters) {
        let listeners = self.of(counters, Purpose::Listener);
        let endpoints = self.of(counters, Purpose::Endpoint);
        let room = self.slots.number(Purpose::Listener) as usize;
        let (hurry, crowded) = (is_low(listeners.len(), room), is_low(endpoints.len(), room));
        self.low = hurry || crowded;
        let gone = listeners.into_iter().filter(|slot| slot.is_closed());
        let gone = gone.filter(|slot| hurry || slot.moved.elapsed() >= QUIET);
        let mut idle = if crowded {
            oldest(endpoints, room / 4)
        } else {
            endpoints.into_iter().filter(|slot| slot.moved.elapsed() >= IDLE).collect()
        };
        let others = self.of(counters, Purpose::Other).into_iter();
        idle.extend(others.filter(|slot| slot.moved.elapsed() >= IDLE));
        for tenure in gone.chain(idle).map(|slot| slot.tenure).take(BATCH) {
            if keeper.retire(tenure) == Kept::Done {
                self.retired.push(tenure);
            }
        }
        if !self.retired.is_empty() {
            self.wait_again();
        }
    }

    /// How many slots there are, and how many are used.
    pub(super) fn room(&self, counters: &Counters) -> Vec<SlotUse> {
        let mut used = [0; 3];
        let on_their_way = self.cleared.iter().map(|tenure| tenure.slot);
        for slot in counters.slots().map(|slot| slot.tenure.slot).chain(on_their_way) {
            used[self.slots.purpose(slot) as usize] += 1;
        }
        Purpose::ALL
            .map(|purpose| SlotUse {
                kind: purpose.as_str().into(),
                capacity: self.slots.number(purpose).into(),
                used: used[purpose as usize],
                given_back: self.given_back[purpose as usize],
            })
            .into()
    }

    fn of(&self, counters: &Counters, purpose: Purpose) -> Vec<Slot> {
        let used = counters.slots().filter(|slot| !slot.retired);
        used.filter(|slot| self.slots.purpose(slot.tenure.slot) == purpose).copied().collect()
    }
}

/// Whether less than an eighth is free. A quarter that is left for listeners that drop is no reason to hurry.
const fn is_low(used: usize, room: usize) -> bool {
    used > room - room / 8
}

/// Those that have not moved for longest.
fn oldest(mut slots: Vec<Slot>, number: usize) -> Vec<Slot> {
    slots.sort_by_key(|slot| slot.moved);
    slots.truncate(number);
    slots
}
