//! Memory that a host full of listeners takes, counted by allocation, so that it repeats to the byte.
//!
//! `cargo bench --bench memory` prints a table of retained memory and of the maximum during an answer.
//! `cargo bench --bench memory -- --record DIRECTORY` writes recordings of such hosts instead, for the
//! observation of a daemon from outside: `netqueue replay DIRECTORY/10000.nqr --speed max`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on the terminal")]

mod crowd;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    fs::File,
    hint::black_box,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
};

use crowd::{CROWDS, second};
use netqueue_daemon::metrics;

/// The system's allocator, with a count of live bytes.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

fn count(change: isize) {
    let live = LIVE.fetch_add(change, Ordering::Relaxed) + change;
    MOST.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is passed to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller guarantees of `layout` what the system's allocator requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the pointer came from `alloc`, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the bytes that `make` left allocated, the maximum meanwhile, and its result.
fn measured<T>(make: impl FnOnce() -> T) -> (isize, isize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let made = make();
    (LIVE.load(Ordering::Relaxed) - before, MOST.load(Ordering::Relaxed) - before, made)
}

fn kib(bytes: isize) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip_while(|argument| argument != "--record");
    if let Some(directory) = arguments.nth(1) {
        return CROWDS.into_iter().try_for_each(|listeners| {
            crowd::record(listeners, File::create(Path::new(&directory).join(format!("{listeners}.nqr")))?)
        });
    }
    println!(
        "{:>9} {:>7} | {:>10} {:>12} {:>10} | {:>10} {:>10} (KiB)",
        "listeners", "series", "state", "per listener", "snapshot", "page", "at most"
    );
    for (listeners, series) in CROWDS.into_iter().flat_map(|crowd| [(crowd, 2000), (crowd, 50_000)]) {
        let (state, _, aggregator) = measured(|| crowd::aggregator(listeners, series));
        let (picture, _, snapshot) = measured(|| Arc::new(aggregator.snapshot(second(3))));
        let mut size = 0;
        let (_, most, ()) = measured(|| {
            size = metrics::pieces(Arc::clone(&snapshot)).map(|piece| black_box(piece).len()).sum()
        });
        println!(
            "{listeners:>9} {series:>7} | {:>10} {:>12} {:>10} | {:>10} {:>10}",
            kib(state),
            kib(state / (listeners.max(1) as isize)),
            kib(picture),
            kib(size as isize),
            kib(most)
        );
    }
    Ok(())
}
