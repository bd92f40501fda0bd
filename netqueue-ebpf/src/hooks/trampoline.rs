//! A hooked function's call as a trampoline shows it to fentry and fexit programs: by its arguments.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext as _, helpers::bpf_skc_to_tcp_sock, programs::FExitContext};

use crate::{
    inflight::{CpuState, Frame},
    layout::{Member, at},
    mib_values::MibPtr,
    packet::ETH_P_IP,
    read::{Fault, read},
};

/// A hooked function whose caller may be of interest.
#[derive(Clone, Copy)]
pub(super) struct Function {
    /// Bounds of the function's code.
    pub(super) code: [u64; 2],
    /// Number of parameters; 0 if no program is at the function's return.
    pub(super) parameters: usize,
}

/// Arguments as a trampoline lays them on the stack, 8 bytes each; at a return, the result follows.
///
/// The verifier knows pointers among them by their types and allows no arithmetic on those: they become
/// numbers by being read from memory that it does not track.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) *mut c_void);

impl Words {
    /// Returns the frame: the address of these words, which is the same at the call's entry and return.
    /// To the verifier the address stays a pointer, which may be stored and compared.
    #[inline(always)]
    pub(super) fn frame(self) -> Frame {
        Frame::exactly(self.0 as u64)
    }

    #[inline(always)]
    pub(super) fn word(self, n: usize) -> u64 {
        // The verifier takes the helper's argument for a pointer, and the helper's result for a number.
        read(self.0 as u64, 8 * n as u32).unwrap_or(0)
    }

    #[inline(always)]
    pub(super) fn number(self, n: usize) -> u64 {
        // SAFETY: the caller guarantees that there is such a word.
        unsafe { self.0.cast::<u64>().add(n).read_volatile() }
    }

    #[inline(always)]
    pub(super) fn word_via(self, n: usize, scratch: &mut u64) -> u64 {
        let scratch: *mut u64 = scratch;
        // SAFETY: a reference is readable and writable.
        unsafe {
            scratch.write_volatile(self.number(n));
            scratch.read_volatile()
        }
    }

    /// Returns the block of LINUX_MIB counters of the namespace of the socket, which is the first word.
    /// The verifier knows the socket's type, so that its members are loaded without a helper.
    #[inline(always)]
    pub(super) fn block(self, scratch: &mut u64) -> u64 {
        let scratch: *mut u64 = scratch;
        // SAFETY: the caller guarantees that the word is a socket, which has a namespace; a reference is
        // readable and writable.
        unsafe {
            let sock = self.0.cast::<*const u8>().read_volatile();
            let net = u64::load::<{ at!(sock_net) }>(sock) as *const u8;
            scratch.write_volatile(u64::load::<{ at!(net_statistics) }>(net));
            scratch.read_volatile()
        }
    }

    /// Returns the return address of the hooked function, which identifies the caller.
    /// The address lies above the frame of the trampoline and the trampoline's own return address, which is
    /// known by the bounds of the hooked function.
    ///
    /// From 7.0 on a function with a program at its return jumps to the trampoline (kernel/bpf/trampoline.c
    /// `bpf_trampoline_use_jmp`) instead of calling it: then the trampoline has no return address of its own,
    /// and the function's lies above the arguments, the returned value, and the frame pointer.
    #[inline(always)]
    pub(super) fn caller(self, Function { code: [begin, end], parameters }: Function) -> Result<u64, Fault> {
        const LOOK: usize = 14;
        /// Distance of the two addresses in words: adjacent, or on aarch64 with a frame pointer between them.
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

/// A pointer whose type the verifier knows: to be compared, and to load members by.
#[derive(Clone, Copy)]
pub(super) struct Typed(pub(super) u64);

impl Typed {
    /// Returns a member of the structure that this points to.
    /// The verifier lets a null pointer be followed, too, which nobody may do: a load that fails costs
    /// thousands of instructions, and crashes 5.10 if the program has subprograms.
    #[inline(always)]
    fn member<T: Member, const AT: u32>(self) -> T {
        // SAFETY: the caller guarantees a pointer to a structure with such a member.
        unsafe { T::load::<AT>(self.0 as *const u8) }
    }

    /// Returns the number of packets that this listener has dropped (`sk_drops`).
    #[inline(always)]
    pub(super) fn drops(self) -> u64 {
        u64::from(self.member::<u32, { at!(sock_drops) }>())
    }

    /// Returns this socket's state.
    #[inline(always)]
    pub(super) fn state(self) -> u8 {
        self.member::<_, { at!(sock_state) }>()
    }

    /// Returns when this connection was established, as [`crate::kernel::Sock::established`] does.
    #[inline(always)]
    pub(super) fn established(self) -> Result<u64, Fault> {
        // SAFETY: the caller guarantees that it is a socket; from the helper the verifier learns its whole
        // type.
        let tcp = Self(unsafe { bpf_skc_to_tcp_sock(self.0 as *mut c_void) } as u64);
        if tcp.0 == 0 { Err(Fault) } else { Ok(tcp.member::<_, { at!(tcp_rcvq_time) }>()) }
    }

    /// Returns the length of this listener's accept queue.
    #[inline(always)]
    pub(super) fn accept_length(self) -> u32 {
        self.member::<_, { at!(sock_ack_backlog) }>()
    }
}

/// Return of a function whose first argument is a listener, without a program at its entry.
/// A fexit program sees the arguments.
#[derive(Clone, Copy)]
pub(super) struct Traced(Words);

impl Traced {
    #[inline(always)]
    pub(super) fn new(call: &FExitContext) -> Self {
        Self(Words(call.as_ptr()))
    }

    /// Returns the `n`th argument as a number, by way of `scratch`, which nothing else may use meanwhile.
    #[inline(always)]
    pub(super) fn arg_via(self, n: usize, scratch: &mut u64) -> u64 {
        self.0.word_via(n, scratch)
    }

    /// Returns the `n`th argument, still a pointer to the verifier.
    #[inline(always)]
    fn pointer(self, n: usize) -> Typed {
        Typed(self.0.number(n))
    }

    /// Returns the listener.
    #[inline(always)]
    pub(super) fn listener(self) -> Typed {
        self.pointer(0)
    }

    /// Returns this CPU's LINUX_MIB counters of the listener's namespace.
    #[inline(always)]
    pub(super) fn cells(self, state: &mut CpuState) -> Result<MibPtr, Fault> {
        let block = self.0.block(&mut state.scratch);
        MibPtr::at(state, block)
    }

    /// Returns whether the packet, which is the second argument, is IPv4's.
    #[inline(always)]
    pub(super) fn is_of_ipv4(self) -> bool {
        u16::from_be(self.pointer(1).member::<_, { at!(skb_protocol) }>()) == ETH_P_IP
    }

    /// Returns the socket that `tcp_v4_syn_recv_sock` or its IPv6 twin returned, which may be none.
    #[inline(always)]
    pub(super) fn returned_sock(self) -> Typed {
        // SAFETY: the word is there.
        Typed(unsafe { u64::load::<{ at!(syn_recv_sock_returned) }>(self.0.0.cast()) })
    }

    /// Returns the address in its caller to which the function returns.
    #[inline(always)]
    pub(super) fn caller(self, own: Function) -> Result<u64, Fault> {
        self.0.caller(own)
    }
}
