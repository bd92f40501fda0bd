//! Frees slots: those of closed listeners, and, where few are left, of the endpoints idle longest.
//!
//! netqueue-ebpf/src/slots.rs explains why no count is lost on the way.

use std::time::{Duration, Instant};

use netqueue_domain::{AccountKey, Counts, SlotUse};
use tokio::sync::oneshot;

use super::{
    control::{ControlStatus, SlotControl, SlotRef},
    counters::{Counters, Slot},
    slots::{Purpose, Slots},
};

/// Time without a charge after which a closed listener's slot is freed.
///
/// Calls still under way are then charged to this slot, rather than to another one of the same listener.
const QUIET: Duration = Duration::from_secs(1);
/// Time without a charge after which the slot of an endpoint or of an `other` bucket is freed.
const IDLE: Duration = Duration::from_secs(60);
/// Interval between two searches for listeners whose end was missed.
const EXAMINE: Duration = Duration::from_secs(5);
/// Limit on slots freed together: each costs two system calls of some microseconds.
const BATCH: usize = 1024;

/// Slots on their way to being free.
pub(super) struct Reclaimer {
    slots: Slots,
    trouble: Option<String>,
    retired: Vec<SlotRef>,
    /// Completes when no program run can still use one of the retired slots.
    grace: Option<oneshot::Receiver<std::io::Result<()>>>,
    /// Slots cleared, but not yet on their free stack, which was busy.
    cleared: Vec<SlotRef>,
    examined: Instant,
    /// True while few slots are free.
    low: bool,
    /// Number of slots freed so far, by purpose.
    given_back: [u64; 3],
}

impl Reclaimer {
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

    /// Returns the reason why no slot is freed, if none is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns whether a slot is for listeners.
    pub(super) fn is_of_listener(&self, slot: u32) -> bool {
        self.slots.purpose(slot) == Purpose::Listener
    }

    /// Returns whether slots are being freed, or few are left.
    pub(super) const fn is_busy(&self) -> bool {
        self.trouble.is_none() && (self.grace.is_some() || !self.cleared.is_empty() || self.low)
    }

    /// Goes one step further at `now`. Returns the final counts of the slots that are free now.
    pub(super) fn step(
        &mut self,
        control: impl SlotControl,
        counters: &mut Counters,
        now: Instant,
    ) -> Vec<(AccountKey, Counts)> {
        if self.trouble.is_some() {
            return Vec::new();
        }
        let cleared = std::mem::take(&mut self.cleared);
        cleared.into_iter().for_each(|slot_ref| self.release(control, slot_ref));
        let settled = self.settle(control, counters);
        if self.grace.is_none() {
            self.examine(control, counters, now);
            self.retire(control, counters, now);
        }
        settled
    }

    /// Takes the counts of retired slots, once they are final, and frees the slots.
    fn settle(&mut self, control: impl SlotControl, counters: &mut Counters) -> Vec<(AccountKey, Counts)> {
        match self.grace.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Err(oneshot::error::TryRecvError::Empty)) => return Vec::new(),
            Some(Ok(Ok(()))) => self.grace = None,
            Some(Ok(Err(error))) => {
                self.grace = Some(control.begin_grace());
                tracing::warn!(%error, "membarrier failed; slots are given back later");
                return Vec::new();
            }
            Some(Err(oneshot::error::TryRecvError::Closed)) => {
                self.grace = Some(control.begin_grace());
                return Vec::new();
            }
        }
        let mut settled = Vec::new();
        for slot_ref in std::mem::take(&mut self.retired) {
            settled.extend(counters.settle(slot_ref));
            self.release(control, slot_ref);
        }
        settled
    }

    fn release(&mut self, control: impl SlotControl, slot_ref: SlotRef) {
        match control.release(slot_ref) {
            ControlStatus::Done => self.given_back[self.slots.purpose(slot_ref.slot) as usize] += 1,
            ControlStatus::Busy => self.cleared.push(slot_ref),
            ControlStatus::Stale | ControlStatus::Closed => {
                tracing::error!(slot = slot_ref.slot, "a retired slot changed hands: a defect of netqueue");
            }
        }
    }

    /// Finds closed listeners whose end was missed.
    fn examine(&mut self, control: impl SlotControl, counters: &Counters, now: Instant) {
        if now.saturating_duration_since(self.examined) < EXAMINE && !self.low {
            return;
        }
        self.examined = now;
        for slot in counters.slots().filter(|slot| !slot.is_closed() && !slot.retired) {
            if self.slots.purpose(slot.slot_ref.slot) == Purpose::Listener {
                // The next reading shows the result.
                control.examine(slot.slot_ref);
            }
        }
    }

    fn retire(&mut self, control: impl SlotControl, counters: &Counters, now: Instant) {
        let listeners = self.of(counters, Purpose::Listener);
        let endpoints = self.of(counters, Purpose::Endpoint);
        let room = self.slots.number(Purpose::Listener) as usize;
        let (hurry, crowded) = (is_low(listeners.len(), room), is_low(endpoints.len(), room));
        self.low = hurry || crowded;
        let rests = |slot: &Slot, time| now.saturating_duration_since(slot.moved) >= time;
        let gone = listeners.into_iter().filter(|slot| slot.is_closed());
        let gone = gone.filter(|slot| hurry || rests(slot, QUIET));
        let mut idle = if crowded {
            oldest(endpoints, room / 4)
        } else {
            endpoints.into_iter().filter(|slot| rests(slot, IDLE)).collect()
        };
        let others = self.of(counters, Purpose::Other).into_iter();
        idle.extend(others.filter(|slot| rests(slot, IDLE)));
        for slot_ref in gone.chain(idle).map(|slot| slot.slot_ref).take(BATCH) {
            if control.retire(slot_ref) == ControlStatus::Done {
                self.retired.push(slot_ref);
            }
        }
        if !self.retired.is_empty() {
            self.grace = Some(control.begin_grace());
        }
    }

    /// Returns the number of slots, and of those in use, by purpose.
    pub(super) fn room(&self, counters: &Counters) -> Vec<SlotUse> {
        let mut used = [0; 3];
        let on_their_way = self.cleared.iter().map(|slot_ref| slot_ref.slot);
        for slot in counters.slots().map(|slot| slot.slot_ref.slot).chain(on_their_way) {
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
        used.filter(|slot| self.slots.purpose(slot.slot_ref.slot) == purpose).copied().collect()
    }
}

/// Returns whether less than an eighth is free.
///
/// Using the quarter that is reserved for listeners that drop is no reason to hurry.
const fn is_low(used: usize, room: usize) -> bool {
    used > room - room / 8
}

/// Selects the slots that have not changed for longest.
fn oldest(mut slots: Vec<Slot>, number: usize) -> Vec<Slot> {
    slots.sort_by_key(|slot| slot.moved);
    slots.truncate(number);
    slots
}
