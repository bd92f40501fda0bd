//! A network namespace, as the kernel has it in memory.

use netqueue_common::{ListenerKey, UNKNOWN_LENGTH};

use crate::{
    layout::layout,
    listened,
    read::{Fault, read},
};

/// A `struct net`.
#[derive(Clone, Copy)]
pub(crate) struct Net(pub(crate) u64);

impl Net {
    /// Returns the namespace's inode number.
    #[inline(always)]
    pub(crate) fn inum(self) -> Result<u32, Fault> {
        read(self.0, layout!(net_inum))
    }

    /// Returns the key of the account that an endpoint is charged to.
    /// All ports of an address from which connections leave have one account; a server's port has its own.
    #[inline(always)]
    pub(crate) fn without_ephemeral_port(self, mut key: ListenerKey) -> Result<ListenerKey, Fault> {
        let range: [u32; 2] = read(self.0, layout!(net_local_ports))?;
        let packed = layout!(local_ports_packed) != 0;
        let (lowest, highest) =
            if packed { (range[0] & 0xffff, range[0] >> 16) } else { (range[0], range[1]) };
        let port = u32::from(key.port);
        if lowest <= port && port <= highest && !listened::contains(&key) {
            key.port = 0;
        }
        Ok(key)
    }

    /// Returns the SYN queue length from which on the last-quarter rule refuses unproven peers.
    /// tcp_conn_request drops while `max_syn_backlog - qlen < max_syn_backlog >> 2`.
    #[inline(always)]
    pub(crate) fn syn_reserve_limit(self) -> u32 {
        match read::<u32>(self.0, layout!(net_max_syn_backlog)) {
            Ok(most) => most - (most >> 2),
            Err(Fault) => UNKNOWN_LENGTH,
        }
    }
}
