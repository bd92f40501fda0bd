#![no_std]
#![no_main]
//! Being built.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
