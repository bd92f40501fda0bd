//! Slots and the accounts whose counts they contain: found, taken, closed, and given back.
//!
//! Slots are given back in three steps, so that no count is lost or doubled, whatever runs meanwhile:
//!
//! 1. **Retire**: the owner's entry in `SLOTS` is removed. A program that begins later finds no slot under
//!    that key and takes another. One that began earlier may have found the slot already and still charge it.
//! 2. The daemon waits for an RCU grace period. Programs run with preemption off or inside an RCU read-side
//!    section: when the grace period is over, every run that could have found the slot has ended. Only then
//!    are its counts final, and read.
//! 3. **Release**: the counts are set to zero and the number goes back on its stack.
//!
//! A late charge to a closed listener thus goes to the slot before it is final, or to another slot of the
//! same key; both are summed. Entries of a preallocated hash are reused at once, so that another key's slot
//! may overwrite what a look-up returned before it is read: a slot counts as found only if `ACCOUNTS` names
//! the key.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, Stack},
};
use netqueue_common::{ListenerKey, NO_SLOT, SlotMeta, control_status};

use crate::{
    inflight::ListenerCache,
    layout::layout,
    maps::{clear, first_row, this_row},
    read::monotonic_now,
    sock::{Sock, tcp_state},
    tally::BPF_F_MMAPABLE,
    words::{raise, volatile},
};

/// The slot of each owner. The loader sets the sizes of all maps of slots.
#[map(name = "nq_slots")]
static SLOTS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(1, 0);

/// Free slots that any listener may take.
/// Each kind of account has stacks of its own, so that neither listeners nor endpoints can use up the other's
/// room.
#[map(name = "nq_free_listen")]
static FREE_LISTENERS: Stack<u32> = Stack::with_max_entries(1, 0);
/// Free slots that only listeners which drop or reset may take.
/// Healthy connections thus leave room for what needs an explanation.
#[map(name = "nq_free_reserve")]
static FREE_RESERVED: Stack<u32> = Stack::with_max_entries(1, 0);
#[map(name = "nq_free_ports")]
static FREE_ENDPOINTS: Stack<u32> = Stack::with_max_entries(1, 0);
#[map(name = "nq_free_others")]
static FREE_OTHERS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Owner of each slot.
#[map(name = "nq_accounts")]
static ACCOUNTS: Array<SlotMeta> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Purpose for which a slot is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A charge: a drop or a reset.
    Charge,
    /// Traffic without a fault: a connection, or a listener's end.
    TrafficRow,
}

/// Returns the slot of a listener or an endpoint, and takes a free one if it has none yet.
/// [`NO_SLOT`] if no slot is left for this need.
#[inline(always)]
pub(crate) fn of(key: &ListenerKey, need: Need) -> u32 {
    let known = known(key);
    if known != NO_SLOT {
        return known;
    }
    let mut fresh = if key.sock == 0 { pop(&FREE_ENDPOINTS) } else { pop(&FREE_LISTENERS) };
    if fresh == NO_SLOT && key.sock != 0 && need == Need::Charge {
        fresh = pop(&FREE_RESERVED);
    }
    take(fresh, key)
}

/// Returns the slot of a namespace's `other` bucket, and takes a free one if it has none yet.
#[inline(always)]
pub(crate) fn of_other(key: &ListenerKey) -> u32 {
    let known = known(key);
    if known != NO_SLOT { known } else { take(pop(&FREE_OTHERS), key) }
}

#[inline(always)]
fn pop(free: &Stack<u32>) -> u32 {
    match free.pop() {
        Ok(Some(slot)) => slot,
        Ok(None) | Err(_) => NO_SLOT,
    }
}

/// Puts a slot back on its stack; returns false if the stack was busy.
/// The stack once gave the slot, and so has room for it.
#[inline(always)]
fn put_back(slot: u32) -> bool {
    let listeners = layout!(listeners);
    let pushed = if slot >= listeners * 2 {
        FREE_OTHERS.push(slot, 0)
    } else if slot >= listeners {
        FREE_ENDPOINTS.push(slot, 0)
    } else if slot >= layout!(open_to_all) {
        FREE_RESERVED.push(slot, 0)
    } else {
        FREE_LISTENERS.push(slot, 0)
    };
    pushed.is_ok()
}

/// Returns whether a listener's socket owns this slot and was neither closed nor opened again.
#[inline(always)]
pub(crate) fn owns(slot: u32, sock: u64) -> bool {
    let Some(owner) = ACCOUNTS.get(slot) else { return false };
    owner.key.sock == sock && volatile(&owner.state) == SlotMeta::USED && volatile(&owner.closed) == 0
}

/// Number of claims of listeners to their slots that have ended.
/// As long as it does not change, whatever was found out about any claim stays valid.
static mut ENDED: u64 = 0;

#[inline(always)]
fn ended() -> u64 {
    // SAFETY: a live word.
    unsafe { (&raw const ENDED).read_volatile() }
}

/// Counts a claim that has ended. Only to be called after its slot shows that.
#[inline(always)]
fn end_claim() {
    // SAFETY: a live word, aligned to eight.
    unsafe { raise(&raw mut ENDED, 1) };
}

/// Returns whether a guess about a listener is still valid: the slot is still the listener's own.
#[inline(always)]
pub(crate) fn holds(cached: &mut ListenerCache, sock: u64) -> bool {
    // Read before the slot: a claim that ends in between makes the next call read the slot again.
    let ended = ended();
    if cached.sock != sock {
        return false;
    }
    if cached.ended == ended {
        return true;
    }
    let Some(owner) = ACCOUNTS.get(cached.slot) else { return false };
    let holds = owner.key.sock == sock
        && u64::from(volatile(&owner.generation)) == cached.owner >> 32
        && volatile(&owner.state) == SlotMeta::USED
        && volatile(&owner.closed) == 0;
    if holds {
        cached.ended = ended;
    }
    holds
}

/// Returns whether a guess is certainly valid, because no claim has ended since its last check.
/// False does not mean that the guess is invalid: [`holds`] decides that.
#[inline(always)]
pub(crate) fn is_fresh(cached: &ListenerCache, sock: u64) -> bool {
    cached.sock == sock && cached.ended == ended()
}

/// Returns the guess about a listener that has this slot from now on.
#[inline(always)]
pub(crate) fn cached(sock: u64, slot: u32, cells: u64) -> ListenerCache {
    let first_row = first_row(slot);
    // Out of date on purpose: the next use checks that the slot is the listener's own.
    let ended = ended().wrapping_sub(1);
    ListenerCache {
        sock,
        ended,
        owner: u64::from(generation(slot)) << 32 | u64::from(first_row),
        cells,
        drops: ListenerCache::NOT_LOOKED,
        row: first_row.wrapping_add(this_row()),
        slot,
    }
}

/// Returns whether a slot is a namespace's `other` bucket, or none at all.
/// The slots of listeners and endpoints come before those of the buckets.
#[inline(always)]
pub(crate) fn is_folded(slot: u32) -> bool {
    slot >= layout!(listeners) * 2
}

/// Returns the socket of the listener that owns a slot; 0 if none does any more.
/// Not an `Option`: the verifier requires every value that a program loads to be defined on all paths that
/// lead there.
#[inline(always)]
pub(crate) fn listener_of(slot: u32) -> u64 {
    let Some(owner) = ACCOUNTS.get(slot) else { return 0 };
    let open = volatile(&owner.state) == SlotMeta::USED && volatile(&owner.closed) == 0;
    if open { owner.key.sock } else { 0 }
}

/// Returns whether a slot's owner is still the same socket and still listens on its port.
#[inline(always)]
pub(crate) fn listens(slot: u32) -> bool {
    let Some(owner) = ACCOUNTS.get(slot) else { return false };
    let sock = Sock(owner.key.sock);
    owns(slot, sock.0)
        && sock.state() == tcp_state::LISTEN
        && sock.port() == owner.key.port
        && is_same_socket(owner)
}

/// Returns whether the socket at an owner's address is the one that was there when the slot was taken.
/// Another listener may have that memory by now, even on the same port. No two sockets have one inode number,
/// nor does a socket change its own.
#[inline(always)]
fn is_same_socket(owner: &SlotMeta) -> bool {
    owner.inode == 0 || Sock(owner.key.sock).inode() == owner.inode
}

/// Returns a slot's generation.
#[inline(always)]
pub(crate) fn generation(slot: u32) -> u32 {
    ACCOUNTS.get(slot).map_or(0, |owner| owner.generation)
}

/// Returns whether a slot still has its owner of this generation, closed or not.
#[inline(always)]
pub(crate) fn is_still(slot: u32, generation: u32) -> bool {
    ACCOUNTS.get(slot).is_some_and(|owner| {
        volatile(&owner.generation) == generation && volatile(&owner.state) == SlotMeta::USED
    })
}

/// Notes that a listener is closed.
/// The slot stays the listener's own, because more may be charged to it. A listener without a slot gets one
/// if there is room: the daemon, which may have found the listener in a list of sockets, then learns at once
/// that it is closed.
#[inline(always)]
pub(crate) fn close(key: &ListenerKey) {
    note_end(of(key, Need::TrafficRow));
}

/// Notes that the listener with this slot is closed, unless that is noted already.
#[inline(always)]
pub(crate) fn note_end(slot: u32) {
    if let Some(owner) = ACCOUNTS.get_ptr_mut(slot) {
        // SAFETY: a live map value; whoever else writes this member writes a time too.
        let closed = unsafe { &raw mut (*owner).closed };
        // SAFETY: as above.
        if unsafe { closed.read_volatile() } == 0 {
            // SAFETY: as above.
            unsafe { closed.write_volatile(monotonic_now()) };
            end_claim();
        }
    }
}

/// Ends any claim to `key`, so that later charges go to another slot.
/// Only to be called for a socket that is about to listen: nothing is charged to it at this moment.
#[inline(always)]
pub(crate) fn forget(key: &ListenerKey) {
    note_end(known(key));
    let _was_there = SLOTS.remove(key);
}

/// Checks that a slot's listener still listens and owns the slot; if not, notes that it is closed.
/// This finds listeners whose end was missed.
#[inline(always)]
pub(crate) fn examine(slot: u32, generation: u32) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return control_status::STALE };
    // SAFETY: a live map value; its key does not change while the slot is used.
    let owner = unsafe { &mut *owner };
    if owner.generation != generation || owner.state != SlotMeta::USED {
        return control_status::STALE;
    }
    let sock = Sock(owner.key.sock);
    // The socket may be gone and its memory reused: then one of these conditions fails. Another listener on
    // the same address and port, in the same memory, has ended this claim when it began (`forget`).
    let listens = sock.state() == tcp_state::LISTEN
        && sock.listener_key().is_ok_and(|key| same(&raw const key, &raw const owner.key))
        && known(&owner.key) == slot;
    if listens {
        return control_status::DONE;
    }
    if owner.closed == 0 {
        owner.closed = monotonic_now();
        end_claim();
    }
    control_status::CLOSED
}

/// Retires a slot, the first step of giving it back.
///
/// If another CPU replaces the owner's entry between the check and the removal, the new entry is removed: its
/// slot is then without an entry, which `examine` finds, and its owner takes a third.
#[inline(always)]
pub(crate) fn retire(slot: u32, generation: u32) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return control_status::STALE };
    // SAFETY: as in `examine`.
    let owner = unsafe { &mut *owner };
    if owner.generation != generation || owner.state != SlotMeta::USED {
        return control_status::STALE;
    }
    owner.state = SlotMeta::RETIRED;
    end_claim();
    if known(&owner.key) == slot {
        let key = &owner.key;
        let _was_there = SLOTS.remove(key);
    }
    control_status::DONE
}

/// Releases a slot, the last step of giving it back.
/// Only to be called a grace period after [`retire`], when the slot's counts were read. `clear_more` clears
/// what else is kept by slot, for the next generation.
#[inline(always)]
pub(crate) fn release(slot: u32, generation: u32, clear_more: impl FnOnce(u32, u32)) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return control_status::STALE };
    // SAFETY: a live map value, which nobody else uses while the slot is retired.
    let owner = unsafe { &mut *owner };
    if owner.generation == generation && owner.state == SlotMeta::RETIRED {
        let next = generation.wrapping_add(1);
        clear(slot);
        clear_more(slot, next);
        owner.closed = 0;
        owner.generation = next;
        owner.state = SlotMeta::FREE;
    } else if owner.generation != generation.wrapping_add(1) || owner.state != SlotMeta::FREE {
        return control_status::STALE;
    }
    // A slot that is cleared already comes here again because its stack was busy.
    if put_back(slot) { control_status::DONE } else { control_status::BUSY }
}

/// Makes `key` the owner of a free slot; returns the slot that `key` has then.
/// Returns [`NO_SLOT`] if `fresh` is that.
#[inline(always)]
fn take(fresh: u32, key: &ListenerKey) -> u32 {
    /// Flag that leaves the slot in place which another CPU gave the key meanwhile.
    const BPF_NOEXIST: u64 = 1;
    let Some(owner) = ACCOUNTS.get_ptr_mut(fresh) else { return NO_SLOT };
    // Written before anyone can find the slot: see `known`.
    // SAFETY: a live map value; the program that took the slot is the only one that writes it.
    unsafe {
        (*owner).key = *key;
        (*owner).inode = if key.sock == 0 { 0 } else { Sock(key.sock).inode() };
    }
    if SLOTS.insert(key, fresh, BPF_NOEXIST).is_err() {
        let _room = put_back(fresh);
        return known(key);
    }
    // SAFETY: as above.
    unsafe {
        // A charge may come after its listener's end: the slot of a socket that no longer listens is closed
        // from the start.
        if key.sock != 0 && Sock(key.sock).state() != tcp_state::LISTEN {
            (*owner).closed = monotonic_now();
        }
        (&raw mut (*owner).state).write_volatile(SlotMeta::USED);
    }
    fresh
}

#[inline(always)]
fn known(key: &ListenerKey) -> u32 {
    // SAFETY: the memory of an entry stays that of an entry; its key is checked below.
    let Some(slot) = (unsafe { SLOTS.get(key) }).copied() else { return NO_SLOT };
    match ACCOUNTS.get_ptr(slot) {
        // SAFETY: a live map value.
        Some(owner) if same(key, unsafe { &raw const (*owner).key }) => slot,
        _ => NO_SLOT,
    }
}

/// Compares two keys word by word.
/// A comparison of arrays would become a call to a function that BPF lacks.
#[inline(always)]
fn same(left: *const ListenerKey, right: *const ListenerKey) -> bool {
    const WORDS: usize = size_of::<ListenerKey>() / 8;
    const { assert!(size_of::<ListenerKey>().is_multiple_of(8), "keys are whole words") };
    let mut differ = 0;
    for word in 0..WORDS {
        // SAFETY: both are keys, of that many words and aligned to eight; volatile, because another CPU may
        // write one.
        differ |= unsafe {
            left.cast::<u64>().add(word).read_volatile() ^ right.cast::<u64>().add(word).read_volatile()
        };
    }
    differ == 0
}
