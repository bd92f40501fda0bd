//! Header of a block, in the extra field of its gzip header (RFC 1952, 2.3.1.1).
//!
//! Blocks are found, counted and skipped by their headers, without being decompressed.

use flate2::Crc;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// Header of a block, including the fixed gzip header.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(super) struct BlockHeader {
    /// Gzip header: magic, method, flags, time, hints.
    gzip: [u8; 10],
    extra_length: U16,
    name: [u8; 2],
    length: U16,
    /// Time when the run attached that wrote the block, in nanoseconds since the epoch.
    pub(super) run: U64,
    /// Number of the first event in the block; of the next event if it has none.
    pub(super) first: U64,
    /// Time of the write, in nanoseconds since the epoch.
    pub(super) written: U64,
    /// Number of events in the block.
    pub(super) events: U32,
    /// Size of the whole block in bytes.
    pub(super) size: U32,
    /// Set to 1 in the last block of a run that ended cleanly.
    pub(super) end: U32,
    check: U32,
}

/// Size of a header in bytes.
pub(super) const LENGTH: usize = size_of::<BlockHeader>();
/// Size of the extra field: a header without the fixed gzip header and the length of the field.
pub(super) const EXTRA: usize = LENGTH - 12;

const NAME: [u8; 2] = *b"NQ";

impl BlockHeader {
    /// Makes the header for the compressed block `packed`; its numbers are set later.
    pub(super) fn over(packed: &[u8]) -> Option<Self> {
        let mut mark = Self::ref_from_prefix(packed).ok()?.0.to_owned();
        mark.name = NAME;
        mark.length = U16::new(EXTRA as u16 - 4);
        Some(mark)
    }

    /// Parses the header at the start of `bytes`; `None` if there is none or it is damaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mark = Self::ref_from_prefix(bytes).ok()?.0.to_owned();
        let sound = mark.gzip.starts_with(&[0x1f, 0x8b, 8, 4])
            && usize::from(mark.extra_length.get()) == EXTRA
            && mark.name == NAME
            && mark.check.get() == mark.checksum()
            && mark.size.get() as usize > LENGTH;
        sound.then_some(mark)
    }

    /// Sets the checksum.
    pub(super) fn checked(mut self) -> Self {
        self.check = U32::new(self.checksum());
        self
    }

    /// Returns the number after that of the last event in the block.
    pub(super) fn next(&self) -> u64 {
        self.first.get().saturating_add(u64::from(self.events.get()))
    }

    fn checksum(&self) -> u32 {
        let mut crc = Crc::new();
        crc.update(&self.as_bytes()[..LENGTH - size_of::<U32>()]);
        crc.sum()
    }
}
