//! A hooked function's call as a trampoline shows it to fentry and fexit programs: by its arguments.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext as _, helpers::bpf_skc_to_tcp_sock, programs::FExitContext};

use crate::{
    kernel::{Fault, layout, opaque, read, tcp_state},
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
            let net = sock.add(layout!(sock_net) as usize).cast::<*const u8>().read_volatile();
            place.write_volatile(net.add(layout!(net_statistics) as usize).cast::<u64>().read_volatile());
            place.read_volatile()
        }
    }

    /// A member of what the `n`th word points to. The verifier knows its type, and lets a null pointer be followed, too. Nobody
    /// may: a load that fails costs thousands of instructions, and 5.10, where the program has subprograms, its kernel.
    #[inline(always)]
    pub(super) fn member<T>(self, n: usize, offset: u32) -> T {
        // SAFETY: the caller says that the word is a pointer to a structure with such a member.
        unsafe {
            let pointer = self.0.cast::<*const u8>().add(n).read_volatile();
            pointer.add(offset as usize).cast::<T>().read_volatile()
        }
    }

    /// A member of the `struct tcp_sock` that the socket is which the first word is; `None` where it is another protocol's.
    #[inline(always)]
    pub(super) fn member_of_tcp_sock(self, offset: u32) -> Option<u64> {
        // SAFETY: the caller says that the word is a socket; the helper tells the verifier of its whole type.
        unsafe {
            let sock = self.0.cast::<*mut c_void>().read_volatile();
            let tcp = bpf_skc_to_tcp_sock(sock).cast::<u8>();
            if tcp.is_null() { None } else { Some(tcp.add(offset as usize).cast::<u64>().read_volatile()) }
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

    /// The `n`th argument, still a pointer to the verifier: to be compared, no more.
    #[inline(always)]
    pub(super) fn pointer(self, n: usize) -> u64 {
        self.0.number(n)
    }

    /// How many packets the listener's `sk_drops` counts.
    #[inline(always)]
    pub(super) fn drops(self) -> u64 {
        u64::from(self.0.member::<u32>(0, layout!(sock_drops)))
    }

    /// How long its accept queue is.
    #[inline(always)]
    pub(super) fn accept_length(self) -> u32 {
        self.0.member(0, layout!(sock_ack_backlog))
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
        u16::from_be(self.0.member(1, layout!(skb_protocol))) == ETH_P_IP
    }

    /// The state of the socket that the function of so many parameters returned. To be asked for only where there is one.
    #[inline(always)]
    pub(super) fn state_of_returned(self, parameters: u32) -> u8 {
        // One load for each: see `Return::ret_via`.
        match parameters {
            6 => opaque::<6>(u64::from(self.0.member::<u8>(6, layout!(sock_state)))) as u8,
            7 => opaque::<7>(u64::from(self.0.member::<u8>(7, layout!(sock_state)))) as u8,
            _ => tcp_state::CLOSE,
        }
    }

    /// Where in its caller the function returns to.
    #[inline(always)]
    pub(super) fn caller(self, own: Function) -> Result<u64, Fault> {
        self.0.caller(own)
    }
}
