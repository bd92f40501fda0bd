//! What the allocator is told: memory taken for a moment, to write a page or to look at every listener, goes back.

/// Allocations of this size and more are given back to the system when they are freed, and so is what is free at the end of
/// the heap once it is that much.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 128 << 10;
/// Heaps: by itself glibc makes eight for each CPU, each of which keeps what it once took.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;

/// Sets the allocator up; to be called before there is a second thread.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        let options = [
            (libc::M_MMAP_THRESHOLD, GIVEN_BACK),
            (libc::M_TRIM_THRESHOLD, GIVEN_BACK),
            (libc::M_ARENA_MAX, HEAPS),
        ];
        for (option, value) in options {
            // SAFETY: it sets one number of the allocator's, which then behaves as it is documented to.
            let set = unsafe { libc::mallopt(option, value) };
            debug_assert_eq!(set, 1, "an option glibc does not know");
        }
    }
}

/// Gives back what is free, also amid what is not: for when much was freed, and not often, as all of the heap is walked.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and touches only memory that nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}
