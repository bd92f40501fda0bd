//! A hooked function's call as its two ends see it, whichever way the programs are attached.
//!
//! A hook is written once, over [`Entry`] and [`Return`]. As kprobe and kretprobe it finds the registers there; as fentry
//! and fexit the arguments, at the return too. The latter are never skipped because another program runs on the CPU, and
//! cost a third: the loader takes them where the kernel has them.

use aya_ebpf::{
    EbpfContext as _,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use super::trampoline::{Function, Typed, Words};
use crate::{
    kernel::{Fault, Sock, read},
    layout::layout,
    mib::Cells,
    scope::{CpuState, Frame, Guess},
    slots,
};

/// A function is about to run.
pub(super) trait Entry {
    /// By what the call is known.
    fn frame(&self) -> Frame;
    /// The `n`th argument as a number. To be asked for only where the function has one.
    fn arg(&self, n: usize) -> u64;
    /// The same, by way of a place that nothing else uses before this is done: cheaper.
    fn arg_via(&self, n: usize, place: &mut u64) -> u64;
    /// The `n`th argument, which is no pointer; or which is one, and stays one to the verifier.
    fn number(&self, n: usize) -> u64;
    /// Where in its caller the function will return to.
    fn caller(&self, own: Function) -> Result<u64, Fault>;
    /// This CPU's LINUX_MIB cells of the namespace of the listener that is the first argument.
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<Cells, Fault>;
    /// When the connection was established that is an argument, a pointer to the verifier ([`Sock::established`]).
    fn established(connection: u64) -> Result<u64, Fault>;
}

/// A function has returned.
pub(super) trait Return {
    /// By what the call is known.
    fn frame(&self) -> Frame;
    /// What the function, which has two parameters, returned: no pointer.
    fn ret(&self) -> u64;
}

/// The stack pointer of a probed function's registers. A return sees it after the return address was popped.
#[cfg(bpf_target_arch = "x86_64")]
macro_rules! stack_pointer {
    ($ctx:expr) => {{
        // SAFETY: the context of a kprobe program is a pt_regs.
        Frame::near(unsafe { (*$ctx.regs).rsp })
    }};
}
/// The stack pointer of a probed function's registers.
#[cfg(bpf_target_arch = "aarch64")]
macro_rules! stack_pointer {
    ($ctx:expr) => {{
        // SAFETY: the context of a kprobe program is a pt_regs, which begins with user_pt_regs on this architecture.
        Frame::near(unsafe { (*$ctx.regs).sp })
    }};
}

impl Entry for ProbeContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        stack_pointer!(self)
    }

    #[inline(always)]
    fn arg(&self, n: usize) -> u64 {
        ProbeContext::arg(self, n).unwrap_or(0)
    }

    #[inline(always)]
    fn arg_via(&self, n: usize, _place: &mut u64) -> u64 {
        Entry::arg(self, n)
    }

    #[inline(always)]
    fn number(&self, n: usize) -> u64 {
        Entry::arg(self, n)
    }

    #[inline(always)]
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<Cells, Fault> {
        let guess = &mut state.guesses[Guess::place(listener)];
        if slots::holds(guess, listener) {
            return Ok(Cells(guess.cells));
        }
        Cells::linux(state, Sock(listener).net()?)
    }

    #[inline(always)]
    fn established(connection: u64) -> Result<u64, Fault> {
        Sock(connection).established()
    }

    #[cfg(bpf_target_arch = "x86_64")]
    #[inline(always)]
    fn caller(&self, _own: Function) -> Result<u64, Fault> {
        // SAFETY: the context of a kprobe program is a pt_regs.
        read(unsafe { (*self.regs).rsp }, 0)
    }
    #[cfg(bpf_target_arch = "aarch64")]
    #[inline(always)]
    fn caller(&self, _own: Function) -> Result<u64, Fault> {
        // SAFETY: as above; x30 is the link register.
        Ok(unsafe { (*self.regs).regs[30] })
    }
}

impl Return for RetProbeContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        stack_pointer!(self)
    }

    #[inline(always)]
    fn ret(&self) -> u64 {
        RetProbeContext::ret(self)
    }
}

/// What a trampoline's programs see, at the entry and at the return.
macro_rules! traced_entry {
    ($context:ty) => {
        impl Entry for $context {
            #[inline(always)]
            fn cells(&self, state: &mut CpuState, _listener: u64) -> Result<Cells, Fault> {
                let block = Words(self.as_ptr()).block(&mut state.place);
                Cells::at(state, block)
            }

            #[inline(always)]
            fn frame(&self) -> Frame {
                Words(self.as_ptr()).frame()
            }

            #[inline(always)]
            fn arg(&self, n: usize) -> u64 {
                Words(self.as_ptr()).word(n)
            }

            #[inline(always)]
            fn arg_via(&self, n: usize, place: &mut u64) -> u64 {
                Words(self.as_ptr()).word_via(n, place)
            }

            #[inline(always)]
            fn number(&self, n: usize) -> u64 {
                Words(self.as_ptr()).number(n)
            }

            #[inline(always)]
            fn caller(&self, own: Function) -> Result<u64, Fault> {
                Words(self.as_ptr()).caller(own)
            }

            #[inline(always)]
            fn established(connection: u64) -> Result<u64, Fault> {
                if layout!(rdonly_cast) != 0 {
                    Sock(connection).established()
                } else {
                    Typed(connection).established()
                }
            }
        }
    };
}
traced_entry!(FEntryContext);
traced_entry!(FExitContext);

impl Return for FExitContext {
    #[inline(always)]
    fn frame(&self) -> Frame {
        Words(self.as_ptr()).frame()
    }

    #[inline(always)]
    fn ret(&self) -> u64 {
        Words(self.as_ptr()).number(2)
    }
}

/// The programs of a function's entry: `entry!(body; kprobe name, fentry name)`.
macro_rules! entry {
    ($body:expr; $kprobe:ident, $fentry:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            $crate::account::observe($body(&ctx))
        }

        #[aya_ebpf::macros::fentry]
        fn $fentry(ctx: aya_ebpf::programs::FEntryContext) -> u32 {
            $crate::account::observe($body(&ctx))
        }
    };
}
pub(super) use entry;

/// The program of the entry of a function whose fexit program needs none: `probed!(body; kprobe name)`.
macro_rules! probed {
    ($body:expr; $kprobe:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            $crate::account::observe($body(&ctx))
        }
    };
}
pub(super) use probed;

/// The programs of a function's return: `leaving!(body; kretprobe name, fexit name)`, or two bodies.
macro_rules! leaving {
    ($body:expr; $kretprobe:ident, $fexit:ident) => {
        leaving!($body, $body; $kretprobe, $fexit);
    };
    ($probed:expr, $traced:expr; $kretprobe:ident, $fexit:ident) => {
        #[aya_ebpf::macros::kretprobe]
        fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            $crate::account::observe($probed(&ctx))
        }

        #[aya_ebpf::macros::fexit]
        fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $crate::account::observe($traced(&ctx))
        }
    };
}
pub(super) use leaving;
