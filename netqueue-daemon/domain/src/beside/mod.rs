//! Kernel counters beside netqueue's own: what moved in a namespace without being attributed, so that
//! silence about a listener is never an all-clear.

mod counter;
mod sentence;
#[cfg(test)]
mod tests;
mod window;

pub use counter::{BesideCounter, BesideValues};
pub use sentence::{BesideFinding, beside};
pub use window::{Beside, BesideEntry, Moved};
