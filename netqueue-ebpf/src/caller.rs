//! Caller of a hooked function, as far as the return address on the stack reveals it.

use crate::layout::layout;

/// Returns whether a return address lies in a function's code.
/// A return address is that after the call, so it may be the end of the code.
#[inline(always)]
pub(crate) fn is_within(address: u64, [code, cold]: [[u64; 2]; 2]) -> bool {
    (code[0] < address && address <= code[1]) || (cold[0] < address && address <= cold[1])
}

/// Caller of a hooked function, as far as its return address reveals it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Caller {
    /// The code in question.
    Asked = 1,
    /// Some other function of the kernel.
    Another,
    /// Not known: another tracer has replaced the return address by its own, or it could not be read.
    Hidden,
}

impl Caller {
    /// Compares a return address with the code in question. An address that could not be read is 0.
    #[inline(always)]
    pub(crate) fn of(address: u64, asked: [[u64; 2]; 2]) -> Self {
        if is_within(address, asked) {
            Self::Asked
        } else if is_hidden(address) {
            Self::Hidden
        } else {
            Self::Another
        }
    }
}

/// Returns whether a return address is no caller's.
/// A kretprobe, an fprobe and function_graph replace it by the address of code of their own; any other
/// address outside the kernel's text is that of code made at run time. 0 is an address that could not be
/// read.
#[inline(always)]
pub(crate) fn is_hidden(address: u64) -> bool {
    if address == 0 {
        return true;
    }
    let within = |[begin, end]: [u64; 2]| begin <= address && address < end;
    let [kretprobe, rethook] = layout!(code_of_return_trampolines);
    if within(kretprobe) || within(rethook) || within(layout!(code_of_return_to_handler)) {
        return true;
    }
    let text = layout!(kernel_text);
    // IPv6 may be a module.
    text[1] != 0 && !within(text) && !is_within(address, layout!(code_of_v6_do_rcv))
}
