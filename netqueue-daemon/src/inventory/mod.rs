//! What the rest of the system says, outside the kernel side's programs: namespaces and their counters.

mod container;
mod enter;
mod member;
mod mounts;
mod namespaces;
pub mod netns;
pub mod netstat;
mod search;
#[cfg(test)]
mod tree;

pub use namespaces::{Namespaces, ReadError};
pub use search::{Depth, Found, Search, search};
