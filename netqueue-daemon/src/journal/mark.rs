//! What each part of a segment says of itself, in the extra field of its gzip header (RFC 1952, 2.3.1.1): so that parts are
//! found, counted and passed over without unpacking them.

use flate2::Crc;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The beginning of a part.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub(super) struct Mark {
    /// Magic, method, flags, time, hints.
    gzip: [u8; 10],
    extra_length: U16,
    name: [u8; 2],
    length: U16,
    /// When the run attached that wrote it, in nanoseconds since the epoch.
    pub(super) run: U64,
    /// The number of its first event; of a part without events, of the next one.
    pub(super) first: U64,
    /// When it was written, in nanoseconds since the epoch.
    pub(super) written: U64,
    /// Events in it.
    pub(super) events: U32,
    /// Bytes of the whole part.
    pub(super) size: U32,
    /// 1 where the run ended properly with it.
    pub(super) end: U32,
    check: U32,
}

/// Bytes of a mark.
pub(super) const LENGTH: usize = size_of::<Mark>();
/// Bytes of a mark behind the fixed part of a gzip header and the length of its extra field.
pub(super) const EXTRA: usize = LENGTH - 12;

const NAME: [u8; 2] = *b"NQ";

impl Mark {
    /// The mark over a packed part that begins with `packed`: its numbers are still to be set.
    pub(super) fn over(packed: &[u8]) -> Option<Self> {
        let mut mark = Self::ref_from_prefix(packed).ok()?.0.to_owned();
        mark.name = NAME;
        mark.length = U16::new(EXTRA as u16 - 4);
        Some(mark)
    }

    /// The mark at the beginning of `bytes`, where they are one and undamaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mark = Self::ref_from_prefix(bytes).ok()?.0.to_owned();
        let sound = mark.gzip.starts_with(&[0x1f, 0x8b, 8, 4])
            && usize::from(mark.extra_length.get()) == EXTRA
            && mark.name == NAME
            && mark.check.get() == mark.checksum()
            && mark.size.get() as usize > LENGTH;
        sound.then_some(mark)
    }

    /// The same with its checksum.
    pub(super) fn checked(mut self) -> Self {
        self.check = U32::new(self.checksum());
        self
    }

    /// The number after its last event.
    pub(super) fn next(&self) -> u64 {
        self.first.get().saturating_add(u64::from(self.events.get()))
    }

    fn checksum(&self) -> u32 {
        let mut crc = Crc::new();
        crc.update(&self.as_bytes()[..LENGTH - size_of::<U32>()]);
        crc.sum()
    }
}
