//! The compiled kernel side, carried inside the binary.

/// The ELF object of netqueue-ebpf.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netqueue-ebpf"));
