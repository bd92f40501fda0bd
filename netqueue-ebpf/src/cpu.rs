//! Number of the CPU that a program runs on.

use core::{hint::assert_unchecked, mem::transmute};

/// Returns the number of this CPU.
#[inline(always)]
pub(crate) fn this_cpu() -> u32 {
    /// include/uapi/linux/bpf.h BPF_FUNC_get_smp_processor_id
    const GET_SMP_PROCESSOR_ID: usize = 8;
    // SAFETY: a helper without arguments. Declared anew with a result of 64 bits: for one of 32, the compiler
    // would clear the upper half.
    unsafe {
        let number = transmute::<usize, extern "C" fn() -> u64>(GET_SMP_PROCESSOR_ID)();
        assert_unchecked(number <= u64::from(u32::MAX));
        number as u32
    }
}
