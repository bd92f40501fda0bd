//! Inventory of the system from outside the eBPF programs.
//!
//! Network namespaces, their counters and sysctls, their listeners, and the processes that own them.

mod cgroup;
mod cgroup_files;
mod container;
mod enter;
pub mod host;
mod idle;
mod listen_calls;
mod listener_table;
mod member;
mod mounts;
mod namespaces;
pub mod netns;
mod netns_paths;
mod netns_probe;
pub mod netstat;
mod owner_probe;
mod owners;
mod privilege;
mod proc_tcp;
mod process;
pub mod scanner;
mod search;
mod sock_diag;
mod sysctls;
pub mod tcp_memory;
#[cfg(test)]
pub(crate) mod tree;

pub use idle::Raced;
pub use namespaces::{Namespaces, ReadError};
pub use netstat::NetnsCounters;
pub use search::{Depth, Found, Search, search};
