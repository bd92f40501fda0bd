//! security/security.c `security_sock_graft(sk, parent)`: accept() gives a connection to a process.
//!
//! This is the one place on the path of accept() that is a function of its own, comes after the wait, and has
//! bottom halves off (include/net/sock.h `sock_graft` takes `sk_callback_lock`): a softirq on top of a
//! program elsewhere on that path would run its own functions without ours, and what it drops would be
//! charged to nobody. Sockets of any protocol come here.

use super::call::{Entry, entry};
use crate::{read::Fault, traffic};

#[inline(always)]
fn enter<E: Entry>(call: &E) -> Result<(), Fault> {
    traffic::accepted(call.number(0), E::established)
}

entry!(enter; nq_security_sock_graft, nq_security_sock_graft_fentry);
