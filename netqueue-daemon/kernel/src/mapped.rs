//! Memory-mapped arrays of the kernel side: read without a system call. The unsafe fence of such reads.

use std::{io, marker::PhantomData, num::NonZeroUsize, ops::Range, os::fd::AsFd, ptr::NonNull};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::FromBytes;

/// An array map of `T`, whose size is a multiple of eight, mapped into memory.
pub(super) struct Mapped<T> {
    start: NonNull<u64>,
    bytes: NonZeroUsize,
    elements: usize,
    writable: bool,
    element: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone; both it and the kernel access it word by word.
unsafe impl<T> Send for Mapped<T> {}
// SAFETY: reads do not disturb each other; the one map that is written has one writer.
unsafe impl<T> Sync for Mapped<T> {}

impl<T: FromBytes> Mapped<T> {
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8) && size_of::<T>() > 0, "elements are whole words");
        size_of::<T>() / 8
    };

    /// Maps an array of `elements` elements, created with BPF_F_MMAPABLE, for reading.
    pub(super) fn new(map: impl AsFd, elements: usize) -> io::Result<Self> {
        Self::map(map, elements, ProtFlags::PROT_READ)
    }

    /// Maps an array like [`Self::new`], for reading and writing.
    pub(super) fn writable(map: impl AsFd, elements: usize) -> io::Result<Self> {
        Self::map(map, elements, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    fn map(map: impl AsFd, elements: usize, protection: ProtFlags) -> io::Result<Self> {
        let bytes = elements.checked_mul(size_of::<T>()).and_then(NonZeroUsize::new);
        let bytes = bytes.ok_or_else(|| io::Error::other("an array without elements cannot be mapped"))?;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let start = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, map, 0) }?;
        let writable = protection.contains(ProtFlags::PROT_WRITE);
        Ok(Self { start: start.cast(), bytes, elements, writable, element: PhantomData })
    }

    /// Writes one word of an element: programs see it before or after, never in between.
    ///
    /// # Panics
    /// There is no such word, or the map was not mapped to be written.
    pub(super) fn write(&self, index: usize, word: usize, value: u64) {
        assert!(
            self.writable && index < self.elements && word < Self::WORDS,
            "element {index} of {}",
            self.elements
        );
        // SAFETY: inside a writable mapping by the assertion, aligned to eight; volatile, because the kernel
        // reads it.
        unsafe { self.start.add(index * Self::WORDS + word).write_volatile(value) }
    }

    /// Number of elements.
    pub(super) const fn len(&self) -> usize {
        self.elements
    }

    /// Reads one element. Each of its words is from some moment during this call.
    ///
    /// # Panics
    /// There is no such element.
    pub(super) fn get(&self, index: usize) -> T {
        let words: Vec<u64> = self.words(index, 0..Self::WORDS).collect();
        let bytes = zerocopy::IntoBytes::as_bytes(words.as_slice());
        T::read_from_bytes(bytes).expect("as many bytes as T has")
    }

    /// Reads some words of an element.
    ///
    /// # Panics
    /// There are no such words.
    pub(super) fn words(&self, index: usize, words: Range<usize>) -> impl Iterator<Item = u64> + '_ {
        assert!(index < self.elements && words.end <= Self::WORDS, "element {index} of {}", self.elements);
        words.map(move |word| {
            // SAFETY: inside the mapping by the assertion, aligned to eight; volatile, because the kernel
            // writes
            // it.
            unsafe { self.start.add(index * Self::WORDS + word).read_volatile() }
        })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping, not used after.
        let _unmapped = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}
