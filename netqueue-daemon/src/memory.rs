//! Settings of the allocator: memory that a page or a scan took for a moment goes back to the system.

/// Size in bytes from which freed memory goes back to the system.
/// Applies to single allocations, and to the free space at the end of the heap.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: libc::c_int = 128 << 10;
/// Number of heaps. By default glibc makes eight for each CPU, each of which keeps what it once took.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;

/// Configures the allocator; to be called before a second thread starts, since heaps are bound to
/// threads.
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

/// Returns free memory to the system, also from amid memory in use.
/// For moments when much was freed, and not often: malloc_trim() walks the whole heap.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
