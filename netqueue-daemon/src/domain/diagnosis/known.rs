//! What is known of the listener behind an account, and of its namespace, in the words of the evidence.

use super::{Bound, Process, Settings};
use crate::domain::{AccountView, Snapshot};

/// What decides over a listener's queues, and whose it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) backlog: Option<u32>,
    pub(super) bound_by: Option<Bound>,
    pub(super) listen_argument: Option<u32>,
    pub(super) settings: Settings,
    pub(super) owner: Option<Process>,
}

/// The listener of the account; for an endpoint the one that listens on its port.
pub(super) fn listener(_snapshot: &Snapshot, _account: &AccountView) -> Known {
    Known::default()
}
