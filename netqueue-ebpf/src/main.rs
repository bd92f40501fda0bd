#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "core's AtomicU64 offers no addition for this target (maps.rs)")]
//! Kernel side of netqueue: observes the functions that decide and charges what the counters moved.
//! Each charge is reported as an event, or the loss of the event is counted.
//!
//! On the path of a normal connection, programs at the return of the functions that may drop it see that they
//! did not. The connection is counted in mapped arrays ([`traffic`]): no hash map, no ring buffer, and one
//! time stamp, at accept(). Only where something was dropped are this CPU's counters read and compared with
//! their previous values ([`looked`]); everything in [`account`] happens only if a counter moved.

mod caller;
mod control;
mod cookie_request;
mod dropped_ack;
mod embryonic;
mod emit;
mod hooks;
mod inflight;
mod kernel;
mod layout;
mod maps;
mod mib;
mod mib_baseline;
mod net;
mod netns_generation;
mod noop;
mod packet;
mod pending_accept;
mod queue_sample;
mod resets;
mod slots;
mod traffic;

/// Programs that call GPL-only helpers must carry a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: a program that could panic does not pass the verifier.
    loop {}
}
