//! Which slot holds whose counts: found, taken, closed, and given back.
//!
//! Slots are given back in three steps, so that no count is lost or doubled, whatever runs meanwhile:
//!
//! 1. **Retire**: the owner's entry in `SLOTS` is removed. A program that begins later finds no slot under that key and
//!    takes another. One that began earlier may still have the slot in hand and charge it.
//! 2. The daemon waits for an RCU grace period. Programs run with preemption off or inside an RCU read-side section: when
//!    it is over, every run that could have found the slot has ended. Only then are its counts final, and read.
//! 3. **Release**: the counts are set to zero and the number goes back on its stack.
//!
//! A late charge to a closed listener thus goes to the slot before it is final, or to another slot of the same key; both
//! are summed. Entries of a preallocated hash are used again at once, so that what a look-up returned may be overwritten
//! by another key's slot before it is read: a slot counts as found only where `ACCOUNTS` names the key.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, Stack},
};
use netqueue_common::{Account as Owner, ListenerKey, NO_SLOT, kept};

use crate::{
    kernel::{Sock, monotonic_now, tcp_state, volatile},
    layout::layout,
    maps::{BPF_F_MMAPABLE, clear, first_row, raise, this_row},
    scope::Guess,
    traffic,
};

/// The slot of each owner. The loader sets the sizes of all maps of slots.
#[map(name = "nq_slots")]
static SLOTS: HashMap<ListenerKey, u32> = HashMap::with_max_entries(1, 0);

/// Free slots, by what they are for: neither listeners nor endpoints can use up the other's room.
#[map(name = "nq_free_listen")]
static FREE_LISTENERS: Stack<u32> = Stack::with_max_entries(1, 0);
/// Those of listeners that only who drops or resets may take: healthy connections leave room for what is to be explained.
#[map(name = "nq_free_reserve")]
static FREE_RESERVED: Stack<u32> = Stack::with_max_entries(1, 0);
#[map(name = "nq_free_ports")]
static FREE_ENDPOINTS: Stack<u32> = Stack::with_max_entries(1, 0);
#[map(name = "nq_free_others")]
static FREE_OTHERS: Stack<u32> = Stack::with_max_entries(1, 0);

/// Whose counts a slot holds.
#[map(name = "nq_accounts")]
static ACCOUNTS: Array<Owner> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What a slot is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something is charged: a drop, a reset.
    Charge,
    /// Nothing is wrong: a connection, a listener's end.
    Traffic,
}

/// The slot of a listener or an endpoint, a free one if it has none yet; [`NO_SLOT`] when there is none left for that.
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

/// The slot of a namespace's `other` bucket.
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

/// Puts a slot on the stack that it belongs on. A stack that gave an element has room for it, and may be busy.
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

/// Whether a listener's socket owns this slot, and may go on doing so: it was not closed, nor opened again.
#[inline(always)]
pub(crate) fn owns(slot: u32, sock: u64) -> bool {
    let Some(owner) = ACCOUNTS.get(slot) else { return false };
    owner.key.sock == sock && volatile(&owner.state) == Owner::USED && volatile(&owner.closed) == 0
}

/// How many claims of listeners to their slots have ended: as long as none more has, what was found out of any stands.
static mut ENDED: u64 = 0;

#[inline(always)]
fn ended() -> u64 {
    // SAFETY: a live word.
    unsafe { (&raw const ENDED).read_volatile() }
}

/// To be called after a slot says that its listener's claim has ended.
#[inline(always)]
fn end_claim() {
    // SAFETY: a live word, aligned to eight.
    unsafe { raise(&raw mut ENDED, 1) };
}

/// Whether what was guessed of a listener holds: the slot is still its own.
#[inline(always)]
pub(crate) fn holds(guess: &mut Guess, sock: u64) -> bool {
    // Before the slot is asked: a claim that ends meanwhile is a reason to ask again.
    let ended = ended();
    if guess.sock != sock {
        return false;
    }
    if guess.ended == ended {
        return true;
    }
    let Some(owner) = ACCOUNTS.get(guess.slot) else { return false };
    let holds = owner.key.sock == sock
        && u64::from(volatile(&owner.generation)) == guess.whose >> 32
        && volatile(&owner.state) == Owner::USED
        && volatile(&owner.closed) == 0;
    if holds {
        guess.ended = ended;
    }
    holds
}

/// Whether it surely does, since no claim has ended; where this does not know, [`holds`] does.
#[inline(always)]
pub(crate) fn surely_holds(guess: &Guess, sock: u64) -> bool {
    guess.sock == sock && guess.ended == ended()
}

/// What is guessed of a listener that has this slot from now on.
#[inline(always)]
pub(crate) fn guess(sock: u64, slot: u32, cells: u64) -> Guess {
    let first_row = first_row(slot);
    // Never up to date: that the slot is the listener's own is asked when it is used next.
    let ended = ended().wrapping_sub(1);
    Guess {
        sock,
        ended,
        whose: u64::from(generation(slot)) << 32 | u64::from(first_row),
        cells,
        drops: Guess::NOT_LOOKED,
        row: first_row.wrapping_add(this_row()),
        slot,
    }
}

/// Whether a slot is a namespace's `other` bucket, or none at all: those of listeners and endpoints come first.
#[inline(always)]
pub(crate) fn is_folded(slot: u32) -> bool {
    slot >= layout!(listeners) * 2
}

/// The socket of the listener that owns a slot; 0 where none does any more. Not an `Option`: whatever a program loads must be
/// defined on every path that leads there.
#[inline(always)]
pub(crate) fn listener_of(slot: u32) -> u64 {
    let Some(owner) = ACCOUNTS.get(slot) else { return 0 };
    let open = volatile(&owner.state) == Owner::USED && volatile(&owner.closed) == 0;
    if open { owner.key.sock } else { 0 }
}

/// Whether the owner of a slot is a socket that listens where it did.
#[inline(always)]
pub(crate) fn listens(slot: u32) -> bool {
    let Some(owner) = ACCOUNTS.get(slot) else { return false };
    let sock = Sock(owner.key.sock);
    owns(slot, sock.0)
        && sock.state() == tcp_state::LISTEN
        && sock.port() == owner.key.port
        && is_same_socket(owner)
}

/// Whether the socket that has an owner's address in memory is the one that had it when the slot was taken: another listener
/// may be there by now, on the same port too. No two sockets have one inode number, nor does a socket change its own.
#[inline(always)]
fn is_same_socket(owner: &Owner) -> bool {
    owner.inode == 0 || Sock(owner.key.sock).inode() == owner.inode
}

/// A slot's generation.
#[inline(always)]
pub(crate) fn generation(slot: u32) -> u32 {
    ACCOUNTS.get(slot).map_or(0, |owner| owner.generation)
}

/// Whether a slot has the owner that it had in this generation, closed or not.
#[inline(always)]
pub(crate) fn is_still(slot: u32, generation: u32) -> bool {
    ACCOUNTS.get(slot).is_some_and(|owner| {
        volatile(&owner.generation) == generation && volatile(&owner.state) == Owner::USED
    })
}

/// Notes that a listener is closed. Its slot stays its own: more may be charged to it. One that had none gets one where
/// there is room: the daemon, which may have found it in a list of sockets, then knows at once that it is no more.
#[inline(always)]
pub(crate) fn close(key: &ListenerKey) {
    note_end(of(key, Need::Traffic));
}

/// Notes that the listener with this slot is closed, where it is not noted already.
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

/// Ends whatever claim there is on `key`, so that what is charged from now on goes to another slot. To be called for a
/// socket that is about to listen: nobody charges it at this moment.
#[inline(always)]
pub(crate) fn forget(key: &ListenerKey) {
    note_end(known(key));
    let _was_there = SLOTS.remove(key);
}

/// Whether the listener that owns the slot still listens, and still owns it. Where it does not, notes that it is closed.
/// It finds those whose end was missed.
#[inline(always)]
pub(crate) fn examine(slot: u32, generation: u32) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return kept::STALE };
    // SAFETY: a live map value; its key does not change while the slot is used.
    let owner = unsafe { &mut *owner };
    if owner.generation != generation || owner.state != Owner::USED {
        return kept::STALE;
    }
    let sock = Sock(owner.key.sock);
    // The socket may be gone and its memory another's: then something of this does not fit any more. Another listener on
    // the same address and port, in the same memory, has ended this claim when it began (`forget`).
    let listens = sock.state() == tcp_state::LISTEN
        && sock.listener_key().is_ok_and(|key| same(&raw const key, &raw const owner.key))
        && known(&owner.key) == slot;
    if listens {
        return kept::DONE;
    }
    if owner.closed == 0 {
        owner.closed = monotonic_now();
        end_claim();
    }
    kept::CLOSED
}

/// The first step of giving a slot back.
///
/// Should another CPU replace the owner's entry between the look at it and its removal, the new one is removed: its slot
/// is then without an entry, which `examine` finds, and its owner takes a third.
#[inline(always)]
pub(crate) fn retire(slot: u32, generation: u32) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return kept::STALE };
    // SAFETY: as in `examine`.
    let owner = unsafe { &mut *owner };
    if owner.generation != generation || owner.state != Owner::USED {
        return kept::STALE;
    }
    owner.state = Owner::RETIRED;
    end_claim();
    if known(&owner.key) == slot {
        let key = &owner.key;
        let _was_there = SLOTS.remove(key);
    }
    kept::DONE
}

/// The last step of giving a slot back: a grace period after `retire`, when its counts were read.
#[inline(always)]
pub(crate) fn release(slot: u32, generation: u32) -> u32 {
    let Some(owner) = ACCOUNTS.get_ptr_mut(slot) else { return kept::STALE };
    // SAFETY: a live map value, which nobody else uses while the slot is retired.
    let owner = unsafe { &mut *owner };
    if owner.generation == generation && owner.state == Owner::RETIRED {
        let next = generation.wrapping_add(1);
        clear(slot);
        traffic::clear(slot, next);
        owner.closed = 0;
        owner.generation = next;
        owner.state = Owner::FREE;
    } else if owner.generation != generation.wrapping_add(1) || owner.state != Owner::FREE {
        return kept::STALE;
    }
    // A slot that is cleared already comes here again because its stack was busy.
    if put_back(slot) { kept::DONE } else { kept::BUSY }
}

/// Gives a free slot, if it is one, to whoever is charged under `key`.
#[inline(always)]
fn take(fresh: u32, key: &ListenerKey) -> u32 {
    /// Where another CPU gave the key a slot meanwhile, that one stays.
    const BPF_NOEXIST: u64 = 1;
    let Some(owner) = ACCOUNTS.get_ptr_mut(fresh) else { return NO_SLOT };
    // Before anybody can find it: see `known`.
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
        // A charge may come after its listener's end: who takes a slot for one that listens no more says so.
        if key.sock != 0 && Sock(key.sock).state() != tcp_state::LISTEN {
            (*owner).closed = monotonic_now();
        }
        (&raw mut (*owner).state).write_volatile(Owner::USED);
    }
    fresh
}

#[inline(always)]
fn known(key: &ListenerKey) -> u32 {
    // SAFETY: an entry's memory stays an entry's; whose is asked below.
    let Some(slot) = (unsafe { SLOTS.get(key) }).copied() else { return NO_SLOT };
    match ACCOUNTS.get_ptr(slot) {
        // SAFETY: a live map value.
        Some(owner) if same(key, unsafe { &raw const (*owner).key }) => slot,
        _ => NO_SLOT,
    }
}

/// Word by word: a comparison of arrays would become a call to a function that is not there.
#[inline(always)]
fn same(left: *const ListenerKey, right: *const ListenerKey) -> bool {
    const WORDS: usize = size_of::<ListenerKey>() / 8;
    const { assert!(size_of::<ListenerKey>().is_multiple_of(8), "keys are whole words") };
    let mut differ = 0;
    for word in 0..WORDS {
        // SAFETY: both are keys, of that many words and aligned to eight; volatile, because another CPU may write one.
        differ |= unsafe {
            left.cast::<u64>().add(word).read_volatile() ^ right.cast::<u64>().add(word).read_volatile()
        };
    }
    differ == 0
}
