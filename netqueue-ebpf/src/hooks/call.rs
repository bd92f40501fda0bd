//! A hooked function's call as seen at entry and return, whichever way the programs are attached.
//!
//! A hook is written once, over [`Entry`] and [`Return`]. A kprobe and a kretprobe find the registers there;
//! fentry and fexit programs find the arguments, at the return too. The latter are never skipped because
//! another program runs on the CPU, and cost a third: the loader takes them if the kernel has them.

use aya_ebpf::{
    EbpfContext as _,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use super::trampoline::{Function, Typed, Words};
use crate::{
    inflight::{CpuState, Frame, ListenerCache},
    layout::layout,
    mib_values::MibPtr,
    read::{Fault, read},
    slots,
    sock::Sock,
};

/// Entry of a function, which is about to run.
pub(super) trait Entry {
    /// Returns the frame, which identifies the call.
    fn frame(&self) -> Frame;
    /// Returns the `n`th argument as a number; the function must have one.
    fn arg(&self, n: usize) -> u64;
    /// Returns the `n`th argument as a number, by way of `scratch`: cheaper than [`Self::arg`].
    /// Nothing else may use `scratch` meanwhile.
    fn arg_via(&self, n: usize, scratch: &mut u64) -> u64;
    /// Returns the `n`th argument: a number, or a pointer, which stays one to the verifier.
    fn number(&self, n: usize) -> u64;
    /// Returns the address in its caller to which the function will return.
    fn caller(&self, own: Function) -> Result<u64, Fault>;
    /// Returns this CPU's LINUX_MIB counters of the namespace of the listener, the first argument.
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<MibPtr, Fault>;
    /// Returns when a connection was established ([`Sock::established`]).
    /// The connection is an argument, and a pointer to the verifier.
    fn established(connection: u64) -> Result<u64, Fault>;
}

/// Return of a function.
pub(super) trait Return {
    /// Returns the frame, which identifies the call.
    fn frame(&self) -> Frame;
    /// Returns the return value, which is no pointer. The function must have two parameters.
    fn ret(&self) -> u64;
}

/// Stack pointer of a probed function's registers.
/// A return program sees it after the return address was popped.
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
        // SAFETY: the context of a kprobe program is a pt_regs, which begins with user_pt_regs on this
        // architecture.
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
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<MibPtr, Fault> {
        let cached = &mut state.listener_cache[ListenerCache::index(listener)];
        if slots::holds(cached, listener) {
            return Ok(MibPtr(cached.cells));
        }
        MibPtr::linux(state, Sock(listener).net()?)
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

/// Implements [`Entry`] for the programs of a trampoline, at the entry and at the return.
macro_rules! traced_entry {
    ($context:ty) => {
        impl Entry for $context {
            #[inline(always)]
            fn cells(&self, state: &mut CpuState, _listener: u64) -> Result<MibPtr, Fault> {
                let block = Words(self.as_ptr()).block(&mut state.scratch);
                MibPtr::at(state, block)
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
            fn arg_via(&self, n: usize, scratch: &mut u64) -> u64 {
                Words(self.as_ptr()).word_via(n, scratch)
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

/// Defines the kprobe of a function whose fexit needs no entry program: `probed!(body; kprobe name)`.
macro_rules! probed {
    ($body:expr; $kprobe:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            $crate::emit::observe($body(&ctx))
        }
    };
}
pub(super) use probed;

/// Defines the programs of a function's entry: `entry!(body; kprobe name, fentry name)`, or two bodies.
macro_rules! entry {
    ($body:expr; $kprobe:ident, $fentry:ident) => {
        $crate::hooks::call::entry!($body, $body; $kprobe, $fentry);
    };
    ($probed:expr, $traced:expr; $kprobe:ident, $fentry:ident) => {
        $crate::hooks::call::probed!($probed; $kprobe);
        $crate::hooks::call::traced!($traced; $fentry);
    };
}
pub(super) use entry;

/// Defines the fentry program of a function's entry, or one more: `traced!(body; fentry name)`.
///
/// While a task is preempted within a program, the kernel skips that program, but not its copy, for the calls of
/// other tasks on that CPU. The body of a copy must do nothing for a call that another program has seen.
macro_rules! traced {
    ($traced:expr; $fentry:ident) => {
        #[aya_ebpf::macros::fentry]
        fn $fentry(ctx: aya_ebpf::programs::FEntryContext) -> u32 {
            $crate::emit::observe($traced(&ctx))
        }
    };
}
pub(super) use traced;

/// Defines the fexit program of a function whose kprobe needs no program at the return:
/// `returned!(body; fexit name)`.
macro_rules! returned {
    ($body:expr; $fexit:ident) => {
        #[aya_ebpf::macros::fexit]
        fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $crate::emit::observe($body(&ctx))
        }
    };
}
pub(super) use returned;

/// Defines the programs of a return: `leaving!(body; kretprobe name, fexit name)`, or two bodies.
macro_rules! leaving {
    ($body:expr; $kretprobe:ident, $fexit:ident) => {
        leaving!($body, $body; $kretprobe, $fexit);
    };
    ($probed:expr, $traced:expr; $kretprobe:ident, $fexit:ident) => {
        #[aya_ebpf::macros::kretprobe]
        fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            $crate::emit::observe($probed(&ctx))
        }

        $crate::hooks::call::returned!($traced; $fexit);
    };
}
pub(super) use leaving;
