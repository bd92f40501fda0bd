//! Values that query parameters may have.

use netqueue_api::AccountKind;

/// Kinds of accounts.
pub(super) const KINDS: &[&str] = AccountKind::WORDS;
/// Sort keys of accounts: `id` ascending, all others descending.
pub(super) const SORTS: [&str; 5] = ["id", "drops", "resets", "fullness", "last_seen"];
/// Measures that are recorded over time.
pub(super) const MEASURES: [&str; 6] =
    ["drop", "reset", "established", "accepted", "accept_queue", "syn_queue"];
