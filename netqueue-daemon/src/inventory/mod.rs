//! Inventory of the system from outside the eBPF programs.
//!
//! Network namespaces, their counters and sysctls, their listeners, and the processes that own them.

mod book;
mod calls;
pub mod census;
mod cgroup;
mod container;
mod enter;
pub mod host;
mod idle;
mod member;
mod mounts;
mod namespaces;
pub mod netns;
pub mod netstat;
mod owners;
mod places;
mod privilege;
mod proc_tcp;
mod process;
mod search;
mod sock_diag;
mod sysctls;
#[cfg(test)]
mod tree;
mod visit;

pub use idle::Raced;
pub use namespaces::{Namespaces, ReadError};
pub use search::{Depth, Found, Search, search};
