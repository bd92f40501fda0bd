//! Reads through kernel pointers.
//! This is the unsafe fence: outside this file and hooks/trampoline.rs, a kernel address is only a number.

use core::{
    arch::asm,
    ffi::c_void,
    hint::assert_unchecked,
    mem::{MaybeUninit, transmute},
};

use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel, generated};
use netqueue_common::KernelLayout;

use crate::layout::layout;

/// Error: a kernel structure could not be read.
pub(crate) struct Fault;

/// Reads a `T` at `base + offset`; `T` must be made of integers.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: u32) -> Result<T, Fault> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(u64::from(offset)) as *const T) }.map_err(|_| Fault)
}

/// Reads a `T` at `base + offset`, or zeroes if there is nothing to read.
/// The helper fills the destination with zeroes then (kernel/trace/bpf_trace.c bpf_probe_read_kernel_common).
/// For members of a structure that was read already: a value that exists on both paths leaves the compiler no
/// register to carry on that only one of them has written, which verifiers refuse.
#[inline(always)]
pub(crate) fn read_or_zero<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let from = base.wrapping_add(u64::from(offset)) as *const c_void;
    // SAFETY: the helper writes all of the destination, whatever the address; `T` is made of integers.
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
    }
}

/// Reads one aligned integer like [`read`], without the helper if the kernel allows that.
/// Such a load has a tenth of the cost. For code that runs for each connection, and for memory that is
/// certainly mapped: a load from other memory gives zeroes.
#[inline(always)]
pub(crate) fn load<T: Copy>(base: u64, offset: u32) -> Result<T, Fault> {
    const { assert!(size_of::<T>() == align_of::<T>(), "one integer") };
    if layout!(rdonly_cast) == 0 {
        return read(base, offset);
    }
    let address = base.wrapping_add(u64::from(offset));
    // The base was null, or no pointer at all: kernel addresses are negative.
    if address.cast_signed() >= 0 {
        return Err(Fault);
    }
    // SAFETY: to the verifier this is an array of numbers, each load of which it makes safe, whatever the
    // address.
    Ok(unsafe { cast(address, layout!(window)).cast::<T>().read_volatile() })
}

/// Loads like [`load`], or returns zeroes if there is nothing to read.
#[inline(always)]
pub(crate) fn load_or_zero<T: Copy + Default>(base: u64, offset: u32) -> T {
    if layout!(rdonly_cast) == 0 {
        read_or_zero(base, offset)
    } else {
        load(base, offset).unwrap_or_default()
    }
}

/// Casts an address to a pointer through which a structure of this BTF type may be loaded.
/// The kernel's `bpf_rdonly_cast` (kernel/bpf/helpers.c), in place of which the verifier puts a move.
#[inline(always)]
pub(crate) fn cast(address: u64, structure: u32) -> *const u8 {
    // SAFETY: the function that the loader inserts has this signature. If the kernel lacks it, no path leads
    // here.
    unsafe {
        let cast: extern "C" fn(u64, u32) -> *const u8 = transmute(KernelLayout::CAST as usize);
        cast(address, structure)
    }
}

/// Returns the lower half of an address as a number.
/// The address may be a pointer to the verifier, which lets only that much of a pointer be copied.
#[inline(always)]
pub(crate) fn lower_half(mut address: u64) -> u64 {
    // SAFETY: a move.
    unsafe { asm!("w1 = w1", inout("r1") address, options(pure, nomem, nostack)) };
    address
}

/// Spreads the addresses of sockets over a table of `1 << BITS` places.
/// An address may be a pointer to the verifier: see [`lower_half`].
#[inline(always)]
pub(crate) fn spread<const BITS: u32>(mut sk: u64) -> usize {
    /// GOLDEN_RATIO_32 of include/linux/hash.h.
    const PART: u32 = 0x61c8_8647;
    // In 32-bit instructions, whose result has at most BITS bits: 64-bit ones would need a mask, too.
    // SAFETY: a move and some arithmetic.
    unsafe {
        asm!(
            "w1 = w1", "w1 *= {0}", "w1 >>= {1}",
            const PART, const u32::BITS - BITS, inout("r1") sk, options(pure, nomem, nostack)
        );
        assert_unchecked(sk < 1 << BITS);
    }
    sk as usize
}

/// Returns the nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
pub(crate) fn monotonic_now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}
