#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "core's AtomicU64 offers no addition for this target (words.rs)")]
//! Kernel side of netqueue: observes the functions that decide and charges what the counters moved.
//! Each charge is reported as an event, or the loss of the event is counted.
//!
//! On the path of a normal connection, programs at the return of the functions that may drop it see that they
//! did not. The connection is counted in mapped arrays ([`traffic`]): no hash map, no ring buffer, and one
//! time stamp, at accept(). Only where something was dropped are this CPU's counters read and compared with
//! their previous values ([`mib_baseline`]); everything in [`emit`] happens only if a counter moved.

mod caller;
mod charge;
mod control;
mod cookie_request;
mod cpu;
mod dropped_ack;
mod embryonic;
mod emit;
mod hooks;
mod inflight;
mod layout;
mod listened;
mod maps;
mod mib;
mod mib_baseline;
mod mib_values;
mod net;
mod netns_final;
mod netns_generation;
mod noop;
mod owed;
mod packet;
mod peer;
mod pending_accept;
mod queue_sample;
mod read;
mod reset_flows;
mod resets;
mod slots;
mod sock;
mod tally;
mod traffic;
mod words;

/// Programs that call GPL-only helpers must carry a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: a program that could panic does not pass the verifier.
    loop {}
}
