#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(internal_features, reason = "core's AtomicU64 offers no addition for this target (maps.rs)")]
//! netqueue's kernel side: observe the functions that decide, charge what this CPU's counters moved, say so or count the loss.
//!
//! The path of a normal connection: programs at the return of the functions that may drop it see that they did not. It is
//! counted in mapped arrays ([`traffic`]): no hash map, no ring buffer, and one time stamp, at accept(). Only where something
//! was dropped this CPU's counter cells are read and compared with what they were ([`looked`]); everything in [`account`]
//! happens only when a cell moved.

mod account;
mod caller;
mod cookie_request;
mod embryonic;
mod empty;
mod hooks;
mod keeper;
mod kernel;
mod layout;
mod ledger;
mod lives;
mod looked;
mod maps;
mod mib;
mod net;
mod packet;
mod queued;
mod resets;
mod scope;
mod slots;
mod survey;
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
