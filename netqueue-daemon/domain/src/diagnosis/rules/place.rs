//! Kinds of subjects that rules tell apart.

use super::super::{Evidence, Subject};
use crate::AccountKey;

/// Returns whether clients connect to the subject, unlike to the ports that connections leave from.
pub(super) const fn serves(evidence: &Evidence) -> bool {
    match evidence.subject {
        Subject::Account(_, AccountKey::Listener { .. } | AccountKey::Endpoint(_))
        | Subject::Namespace(_) => true,
        Subject::Account(_, AccountKey::Ephemeral { .. } | AccountKey::Other(_) | AccountKey::Gone(_))
        | Subject::Netqueue => false,
    }
}
