//! One end of a connection.

/// One end of a connection, as a packet or a socket names it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) family: u16,
    pub(crate) port: u16,
    pub(crate) addr: [u8; 16],
}

impl Peer {
    pub(crate) const UNKNOWN: Self = Self { family: 0, port: 0, addr: [0; 16] };
}
