//! Access to the layout of the running kernel, which the loader found out.
//!
//! A `u32` of it is an operand of the instructions themselves: the compiler leaves a placeholder, by which
//! the loader finds the place. A constant takes no register and no load. The rest is read from a frozen
//! global, whose contents the verifier knows.

use core::{arch::asm, hint::assert_unchecked};

use netqueue_common::KernelLayout;

use crate::words::volatile;

#[unsafe(no_mangle)]
pub(crate) static LAYOUT: KernelLayout = {
    // SAFETY: integers only; all zeroes is a value.
    unsafe { core::mem::zeroed() }
};

/// Returns the value of one field of the layout.
macro_rules! layout {
    ($field:ident) => {
        $crate::layout::Known::known::<{ $crate::layout::at!($field) }>(&$crate::layout::LAYOUT.$field)
    };
}
pub(crate) use layout;

/// Returns the offset of a field in the layout.
macro_rules! at {
    ($field:ident) => {
        core::mem::offset_of!(netqueue_common::KernelLayout, $field) as u32
    };
}
pub(crate) use at;

/// Types that a field of the layout may have.
pub(crate) trait Known: Copy {
    /// Returns the value of this field, which is at offset `AT` of the layout.
    fn known<const AT: u32>(field: &Self) -> Self;
}

impl Known for u32 {
    #[inline(always)]
    fn known<const AT: u32>(_field: &Self) -> Self {
        let number: u64;
        // SAFETY: loads a number, which the loader makes one of 32 bits.
        unsafe {
            asm!("{0} = {1}", lateout(reg) number, const KernelLayout::NUMBER + AT, options(pure, nomem, nostack));
            assert_unchecked(number <= u64::from(u32::MAX));
        }
        number as Self
    }
}

impl Known for u64 {
    #[inline(always)]
    fn known<const AT: u32>(field: &Self) -> Self {
        volatile(field)
    }
}

impl<T: Copy> Known for [T; 2] {
    #[inline(always)]
    fn known<const AT: u32>(field: &Self) -> Self {
        volatile(field)
    }
}

/// Masks a number with a field of the layout.
/// This is one instruction, after which the verifier knows the largest possible result.
macro_rules! masked {
    ($number:expr, $field:ident) => {
        $crate::layout::mask::<{ $crate::layout::at!($field) }>($number)
    };
}
pub(crate) use masked;

#[inline(always)]
pub(crate) fn mask<const AT: u32>(mut number: u64) -> u64 {
    // SAFETY: arithmetic.
    unsafe {
        asm!("{0} &= {1}", inout(reg) number, const KernelLayout::NUMBER + AT, options(pure, nomem, nostack));
        assert_unchecked(number <= u64::from(u32::MAX));
    }
    number
}

/// Types that one instruction can load.
pub(crate) trait Member: Copy {
    /// Loads the value whose offset from `base` is the layout's field at `AT`.
    ///
    /// # Safety
    /// `base` must be a pointer to the verifier, from which this much may be loaded.
    unsafe fn load<const AT: u32>(base: *const u8) -> Self;
}

macro_rules! member {
    ($type:ty, $load:literal) => {
        impl Member for $type {
            #[inline(always)]
            unsafe fn load<const AT: u32>(base: *const u8) -> Self {
                let loaded: u64;
                // SAFETY: as the caller guarantees; shorter numbers are zero-extended.
                unsafe {
                    asm!(
                        "{0} = {2}",
                        "{0} += {1}",
                        $load,
                        out(reg) loaded, in(reg) base, const KernelLayout::LOAD + AT,
                        options(readonly, nostack)
                    );
                    assert_unchecked(loaded <= <$type>::MAX as u64);
                }
                loaded as Self
            }
        }
    };
}
member!(u8, "{0} = *(u8 *)({0} + 0)");
member!(u16, "{0} = *(u16 *)({0} + 0)");
member!(u32, "{0} = *(u32 *)({0} + 0)");
member!(u64, "{0} = *(u64 *)({0} + 0)");
