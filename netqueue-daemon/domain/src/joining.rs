//! Join of the inventory's listeners with the kernel side's accounts, by the inode of the socket.

use std::sync::Arc;

use super::{
    AccountKey, AccountView, Aggregator, Changes, Endpoint, Listener, SocketId, SocketInode, Timestamp,
};

impl Aggregator {
    /// Takes in the socket of an account, as the kernel side reports it. A listener that was found before
    /// anything was charged to it becomes this account, under the kernel side's key.
    pub fn identify(&mut self, key: AccountKey, inode: SocketInode, now: Timestamp) {
        if self.index.contains_key(&key) {
            return;
        }
        match self.by_socket.get(&inode).copied() {
            Some(index) if self.accounts.get(index).is_some_and(|account| is_found_only(&account.key)) => {
                let account = self.edit(index);
                let found = std::mem::replace(&mut account.key, key);
                self.index.remove(&found);
                self.index.insert(key, index);
            }
            Some(_) | None => {
                self.account(key, now);
                if let Some(index) = self.index.get(&key) {
                    self.by_socket.insert(inode, *index);
                }
            }
        }
    }

    /// Takes in the changes that a pass over the system's listeners found.
    pub fn learn(&mut self, changes: Changes, now: Timestamp) {
        for listener in changes.listeners {
            self.learn_one(listener, now);
        }
        self.infer(changes.idle_limits);
        for (inode, queue) in changes.queues {
            if let Some(index) = self.by_socket.get(&inode).copied() {
                self.edit(index).queues.accept = Some(queue);
            }
        }
        for (inode, state) in changes.owner_states {
            if let Some(index) = self.by_socket.get(&inode).copied() {
                self.edit(index).examined(state);
            }
        }
    }

    fn learn_one(&mut self, listener: Arc<Listener>, now: Timestamp) {
        let inode = listener.inode;
        let index = match self.by_socket.get(&inode).copied() {
            // An inode number returns after four thousand million others: another place means another socket.
            Some(index) if self.accounts.get(index).is_some_and(|known| is_at(known, &listener)) => index,
            Some(_) | None if listener.closed.is_some() => return,
            Some(_) | None => {
                let key = AccountKey::Listener { socket: found_only(self.found), at: listener.at };
                self.found = self.found.wrapping_add(1);
                self.account(key, now);
                self.accounts.len() - 1
            }
        };
        self.by_socket.insert(inode, index);
        if listener.closed.is_some() {
            self.by_socket.remove(&inode);
        }
        let account = self.edit(index);
        account.learn(listener);
        // The kernel side, which would report the end of the account, has no slot for it.
        if account.closed.is_some() && is_found_only(&account.key) {
            account.over.get_or_insert(0);
        }
    }
}

/// Bit of sockets without a slot, which the kernel side's numbers (generation and slot) never have.
const FOUND_ONLY: u64 = 1 << 63;

/// Returns the identity of a listener that was found and has no slot in the kernel side.
const fn found_only(number: u64) -> SocketId {
    SocketId(FOUND_ONLY | number)
}

pub(super) const fn is_found_only(key: &AccountKey) -> bool {
    matches!(key, AccountKey::Listener { socket, .. } if socket.0 >= FOUND_ONLY)
}

/// Returns whether account and listener have the same namespace, address and port. Ignores the
/// namespace's generation, which the inventory may lack.
fn is_at(account: &AccountView, listener: &Listener) -> bool {
    let place = |at: Endpoint| (at.netns.inode, at.addr, at.port);
    matches!(account.key, AccountKey::Listener { at, .. } if place(at) == place(listener.at))
}

#[cfg(test)]
#[path = "joining_tests.rs"]
mod tests;
