//! A hooked function's call as a trampoline shows it to fentry and fexit programs: by its arguments.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext as _, helpers::bpf_skc_to_tcp_sock, programs::FExitContext};

use crate::{
    kernel::{Fault, read},
    layout::{Member, at},
    mib::Cells,
    packet::ETH_P_IP,
    scope::{CpuState, Frame},
};

/// A hooked function that may want to know who called it.
#[derive(Clone, Copy)]
pub(super) struct Function {
    /// Where its code begins and ends.
    pub(super) code: [u64; 2],
    /// How many parameters it has; 0 where no program is at its return.
    pub(super) parameters: usize,
}

/// The arguments as a trampoline lays them on the stack, 8 bytes each, then, for a return, what was returned.
///
/// The verifier knows pointers among them by their types and lets nobody calculate with those: they become numbers by
/// being read from memory it takes no notes of.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) *mut c_void);

impl Words {
    /// The address is that of the same words at the call's entry and return. It stays a pointer to the verifier, which may
    /// be stored and compared.
    #[inline(always)]
    pub(super) fn frame(self) -> Frame {
        Frame::exactly(self.0 as u64)
    }

    #[inline(always)]
    pub(super) fn word(self, n: usize) -> u64 {
        // The verifier takes a helper's pointer for what it is, and what the helper wrote for a number.
        read(self.0 as u64, 8 * n as u32).unwrap_or(0)
    }

    #[inline(always)]
    pub(super) fn number(self, n: usize) -> u64 {
        // SAFETY: the caller says that there is such a word.
        unsafe { self.0.cast::<u64>().add(n).read_volatile() }
    }

    #[inline(always)]
    pub(super) fn word_via(self, n: usize, place: &mut u64) -> u64 {
        let place: *mut u64 = place;
        // SAFETY: a place can be written and read.
        unsafe {
            place.write_volatile(self.number(n));
            place.read_volatile()
        }
    }

    /// The block of LINUX_MIB counters of the namespace of the socket that the first word is. The verifier knows its type, so
    /// that what it points to is loaded without a helper.
    #[inline(always)]
    pub(super) fn block(self, place: &mut u64) -> u64 {
        let place: *mut u64 = place;
        // SAFETY: the caller says that the word is a socket, which has a namespace. A place can be written and read.
        unsafe {
            let sock = self.0.cast::<*const u8>().read_volatile();
            let net = u64::load::<{ at!(sock_net) }>(sock) as *const u8;
            place.write_volatile(u64::load::<{ at!(net_statistics) }>(net));
            place.read_volatile()
        }
    }

    /// The word the trampoline's caller finds its return address in lies above the frame of the trampoline and the
    /// return address of the hooked function: that one is known by the function's bounds.
    ///
    /// From 7.0 on a function with a program at its return jumps to the trampoline (kernel/bpf/trampoline.c
    /// `bpf_trampoline_use_jmp`) instead of calling it: nothing of its own is there then, and what it returns to lies above the
    /// arguments, what was returned, and the frame pointer.
    #[inline(always)]
    pub(super) fn caller(self, Function { code: [begin, end], parameters }: Function) -> Result<u64, Fault> {
        const LOOK: usize = 14;
        /// Between the two: on this architecture they lie side by side, or a frame pointer is in between.
        const APART: usize = if cfg!(bpf_target_arch = "aarch64") { 2 } else { 1 };
        let words: [u64; LOOK] = read(self.0 as u64, 0)?;
        let mut at = 0;
        while at < LOOK - APART {
            if begin < words[at] && words[at] <= end {
                return Ok(words[at + APART]);
            }
            at += 1;
        }
        match parameters {
            2 if cfg!(bpf_target_arch = "x86_64") => Ok(words[2 + 2]),
            3 if cfg!(bpf_target_arch = "x86_64") => Ok(words[3 + 2]),
            _ => Err(Fault),
        }
    }
}

/// What is a pointer to the verifier, and known to it by its type: to be compared, and to load members by.
#[derive(Clone, Copy)]
pub(super) struct Typed(pub(super) u64);

impl Typed {
    /// A member of what it points to. The verifier lets a null pointer be followed, too. Nobody may: a load that fails costs
    /// thousands of instructions, and 5.10, where the program has subprograms, its kernel.
    #[inline(always)]
    fn member<T: Member, const AT: u32>(self) -> T {
        // SAFETY: the caller says that it points to a structure with such a member.
        unsafe { T::load::<AT>(self.0 as *const u8) }
    }

    /// How many packets this listener's `sk_drops` counts.
    #[inline(always)]
    pub(super) fn drops(self) -> u64 {
        u64::from(self.member::<u32, { at!(sock_drops) }>())
    }

    /// This socket's state.
    #[inline(always)]
    pub(super) fn state(self) -> u8 {
        self.member::<_, { at!(sock_state) }>()
    }

    /// When this connection was established: [`Sock::established`](crate::kernel::Sock::established).
    #[inline(always)]
    pub(super) fn established(self) -> Result<u64, Fault> {
        // SAFETY: the caller says that it is a socket; the helper tells the verifier of its whole type.
        let tcp = Self(unsafe { bpf_skc_to_tcp_sock(self.0 as *mut c_void) } as u64);
        if tcp.0 == 0 { Err(Fault) } else { Ok(tcp.member::<_, { at!(tcp_rcvq_time) }>()) }
    }

    /// How long this listener's accept queue is.
    #[inline(always)]
    pub(super) fn accept_length(self) -> u32 {
        self.member::<_, { at!(sock_ack_backlog) }>()
    }
}

/// A function that was called for a listener, its first argument, has returned, and no program ran at its entry: a fexit
/// program knows the arguments.
#[derive(Clone, Copy)]
pub(super) struct Traced(Words);

impl Traced {
    #[inline(always)]
    pub(super) fn new(call: &FExitContext) -> Self {
        Self(Words(call.as_ptr()))
    }

    /// The `n`th argument as a number, by way of a place that nothing else uses before this is done.
    #[inline(always)]
    pub(super) fn arg_via(self, n: usize, place: &mut u64) -> u64 {
        self.0.word_via(n, place)
    }

    /// The `n`th argument, still a pointer to the verifier.
    #[inline(always)]
    fn pointer(self, n: usize) -> Typed {
        Typed(self.0.number(n))
    }

    /// The listener.
    #[inline(always)]
    pub(super) fn listener(self) -> Typed {
        self.pointer(0)
    }

    /// This CPU's LINUX_MIB cells of its namespace.
    #[inline(always)]
    pub(super) fn cells(self, state: &mut CpuState) -> Result<Cells, Fault> {
        let block = self.0.block(&mut state.place);
        Cells::at(state, block)
    }

    /// Whether the packet that is the second argument is IPv4's.
    #[inline(always)]
    pub(super) fn is_of_ipv4(self) -> bool {
        u16::from_be(self.pointer(1).member::<_, { at!(skb_protocol) }>()) == ETH_P_IP
    }

    /// The socket that the function returned, which may be none. Of `tcp_v4_syn_recv_sock` and its IPv6 twin.
    #[inline(always)]
    pub(super) fn returned_sock(self) -> Typed {
        // SAFETY: the word is there.
        Typed(unsafe { u64::load::<{ at!(syn_recv_sock_returned) }>(self.0.0.cast()) })
    }

    /// Where in its caller the function returns to.
    #[inline(always)]
    pub(super) fn caller(self, own: Function) -> Result<u64, Fault> {
        self.0.caller(own)
    }
}
