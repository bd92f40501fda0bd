//! Waits until every program run that is under way has ended. The unsafe fence of that system call.
//!
//! kprobe programs run with preemption off, other programs inside RCU read-side sections: an RCU grace period
//! covers both (since 4.20 they are one). `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for one and for nothing
//! else (kernel/sched/membarrier.c). With a single CPU online it returns at once, and may: this process runs
//! there.

use std::io;

const MEMBARRIER_CMD_QUERY: libc::c_int = 0;
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns whether this kernel offers the wait. A kernel whose ticks may stop (`nohz_full`) does not.
pub(super) fn possible() -> bool {
    membarrier(MEMBARRIER_CMD_QUERY).is_ok_and(|commands| commands & i64::from(MEMBARRIER_CMD_GLOBAL) != 0)
}

/// Waits for one grace period: some milliseconds to some tens of them.
pub(super) fn wait() -> io::Result<()> {
    membarrier(MEMBARRIER_CMD_GLOBAL).map(drop)
}

fn membarrier(command: libc::c_int) -> io::Result<i64> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    match unsafe { libc::syscall(libc::SYS_membarrier, command, 0) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_says_it_can_does() {
        if possible() {
            wait().expect("it said so");
        } else {
            wait().expect_err("it said so");
        }
    }
}
