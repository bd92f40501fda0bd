//! Who called a hooked function, as far as the return address on the stack tells.

use crate::layout::layout;

/// Whether a return address lies in a function's code: it is that after the call.
#[inline(always)]
pub(crate) fn is_within(address: u64, [code, cold]: [[u64; 2]; 2]) -> bool {
    (code[0] < address && address <= code[1]) || (cold[0] < address && address <= cold[1])
}

/// Who called a hooked function, as far as its return address tells.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Caller {
    /// The code asked for.
    Asked = 1,
    /// Some other function of the kernel.
    Another,
    /// Nobody knows: another tracer has put its own return address there, or it could not be read.
    Hidden,
}

impl Caller {
    /// Whether it is this code. A return address that could not be read is 0.
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

/// Whether a return address is no caller's. A kretprobe, an fprobe and function_graph replace it by the address of code of their
/// own; what else lies outside the kernel's text is code made at run time. 0 stands for one that could not be read.
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
