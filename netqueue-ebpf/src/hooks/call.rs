//! A hooked function's call as its two ends see it, whichever way the programs are attached.
//!
//! A hook is written once, over [`Entry`] and [`Return`]. As kprobe and kretprobe it finds the registers there; as fentry
//! and fexit the arguments, at the return too. The latter are never skipped because another program runs on the CPU, and
//! cost a third: the loader takes them where the kernel has them.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    EbpfContext as _,
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};

use crate::{
    kernel::{Fault, Sock, layout, read},
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
    /// The `n`th argument, which is no pointer.
    fn number(&self, n: usize) -> u64;
    /// Where in its caller the function will return to.
    fn caller(&self) -> Result<u64, Fault>;
    /// This CPU's LINUX_MIB cells of the namespace of the listener that is the first argument.
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<Cells, Fault>;
    /// Whether no call is missed of a function that runs with bottom halves off.
    const CERTAIN: bool;
}

/// A function has returned.
pub(super) trait Return {
    /// By what the call is known.
    fn frame(&self) -> Frame;
    /// The `n`th argument, which is no pointer; `None` where a return does not know them.
    fn number(&self, n: usize) -> Option<u64>;
    /// What the function of so many parameters returned; by way of a place that nothing else uses before this is done.
    fn ret_via(&self, parameters: u32, place: &mut u64) -> u64;
    /// How long the accept queue of the listener is that was the first argument.
    fn accept_length(&self, listener: Sock) -> Result<u32, Fault>;
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

    const CERTAIN: bool = false;

    #[inline(always)]
    fn cells(&self, state: &mut CpuState, listener: u64) -> Result<Cells, Fault> {
        let guess = &state.guesses[Guess::place(listener)];
        if guess.cells != 0 && slots::holds(guess, listener) {
            return Ok(Cells(guess.cells));
        }
        Cells::linux(state, Sock(listener).net()?)
    }

    #[cfg(bpf_target_arch = "x86_64")]
    #[inline(always)]
    fn caller(&self) -> Result<u64, Fault> {
        // SAFETY: the context of a kprobe program is a pt_regs.
        read(unsafe { (*self.regs).rsp }, 0)
    }
    #[cfg(bpf_target_arch = "aarch64")]
    #[inline(always)]
    fn caller(&self) -> Result<u64, Fault> {
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
    fn number(&self, _n: usize) -> Option<u64> {
        None
    }

    #[inline(always)]
    fn ret_via(&self, _parameters: u32, _place: &mut u64) -> u64 {
        self.ret()
    }

    #[inline(always)]
    fn accept_length(&self, listener: Sock) -> Result<u32, Fault> {
        listener.accept_length()
    }
}

/// The arguments as a trampoline lays them on the stack, 8 bytes each, then, for a return, what was returned.
///
/// The verifier knows pointers among them by their types and lets nobody calculate with those: they become numbers by
/// being read from memory it takes no notes of.
#[derive(Clone, Copy)]
struct Words(*mut c_void);

impl Words {
    /// The address is that of the same words at the call's entry and return. It stays a pointer to the verifier, which may
    /// be stored and compared.
    #[inline(always)]
    fn frame(self) -> Frame {
        Frame::exactly(self.0 as u64)
    }

    #[inline(always)]
    fn word(self, n: usize) -> u64 {
        // The verifier takes a helper's pointer for what it is, and what the helper wrote for a number.
        read(self.0 as u64, 8 * n as u32).unwrap_or(0)
    }

    #[inline(always)]
    fn number(self, n: usize) -> u64 {
        // SAFETY: the caller says that there is such a word.
        unsafe { self.0.cast::<u64>().add(n).read_volatile() }
    }

    #[inline(always)]
    fn word_via(self, n: usize, place: &mut u64) -> u64 {
        let place: *mut u64 = place;
        // SAFETY: a place can be written and read.
        unsafe {
            place.write_volatile(self.number(n));
            place.read_volatile()
        }
    }

    /// The block of LINUX_MIB counters of the namespace of the socket that the first word is. The verifier knows its type, so
    /// that what it points to is loaded without a helper; what cannot be read is 0 then.
    #[inline(always)]
    fn block(self, place: &mut u64) -> u64 {
        let place: *mut u64 = place;
        // SAFETY: the caller says that the word is a socket; the kernel catches loads that fail. A place can be written
        // and read.
        unsafe {
            let sock = self.0.cast::<*const u8>().read_volatile();
            let net = sock.add(layout!(sock_net) as usize).cast::<*const u8>().read_volatile();
            place.write_volatile(net.add(layout!(net_statistics) as usize).cast::<u64>().read_volatile());
            place.read_volatile()
        }
    }

    /// A member of the socket that the first word is.
    #[inline(always)]
    fn member(self, offset: u32) -> u32 {
        // SAFETY: as above.
        unsafe {
            let sock = self.0.cast::<*const u8>().read_volatile();
            sock.add(offset as usize).cast::<u32>().read_volatile()
        }
    }

    /// The word the trampoline's caller finds its return address in lies above the frame of the trampoline and the
    /// return address of the hooked function: that one is known by the function's bounds.
    #[inline(always)]
    fn caller(self) -> Result<u64, Fault> {
        const LOOK: usize = 14;
        /// Between the two: on this architecture they lie side by side, or a frame pointer is in between.
        const APART: usize = if cfg!(bpf_target_arch = "aarch64") { 2 } else { 1 };
        let words: [u64; LOOK] = read(self.0 as u64, 0)?;
        let [begin, end] = layout!(code_of_active_reset);
        let mut at = 0;
        while at < LOOK - APART {
            if begin < words[at] && words[at] <= end {
                return Ok(words[at + APART]);
            }
            at += 1;
        }
        Err(Fault)
    }
}

impl Entry for FEntryContext {
    const CERTAIN: bool = true;

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
    fn caller(&self) -> Result<u64, Fault> {
        Words(self.as_ptr()).caller()
    }
}

impl Return for FExitContext {
    #[inline(always)]
    fn accept_length(&self, _listener: Sock) -> Result<u32, Fault> {
        Ok(Words(self.as_ptr()).member(layout!(sock_ack_backlog)))
    }

    #[inline(always)]
    fn frame(&self) -> Frame {
        Words(self.as_ptr()).frame()
    }

    #[inline(always)]
    fn number(&self, n: usize) -> Option<u64> {
        Some(Words(self.as_ptr()).number(n))
    }

    #[inline(always)]
    fn ret_via(&self, parameters: u32, place: &mut u64) -> u64 {
        let words = Words(self.as_ptr());
        // One load for each, kept apart: a place in the context that is calculated would not pass the verifier.
        match parameters {
            1 => black_box(words.word_via(1, place)),
            2 => black_box(words.word_via(2, place)),
            3 => black_box(words.word_via(3, place)),
            5 => black_box(words.word_via(5, place)),
            6 => black_box(words.word_via(6, place)),
            7 => black_box(words.word_via(7, place)),
            _ => 0,
        }
    }
}

/// The programs of a function's entry: `entry!(body: kprobe name, fentry name)`.
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

/// The programs of a function's return: `leaving!(body: kretprobe name, fexit name)`.
macro_rules! leaving {
    ($body:expr; $kretprobe:ident, $fexit:ident) => {
        #[aya_ebpf::macros::kretprobe]
        fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            $crate::account::observe($body(&ctx))
        }

        #[aya_ebpf::macros::fexit]
        fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $crate::account::observe($body(&ctx))
        }
    };
}
pub(super) use leaving;
