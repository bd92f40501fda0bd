//! What the rest of the system says, outside the kernel side's programs: namespaces and their counters.

mod container;
mod enter;
mod member;
mod namespaces;
pub mod netns;
pub mod netstat;
mod search;
#[cfg(test)]
mod tree;

pub use namespaces::{Changes, Namespaces, ReadError, Seen};
pub use search::{Depth, Found, Roots, Search, search};
