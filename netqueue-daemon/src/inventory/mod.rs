//! What the rest of the system says, outside the kernel side's programs: namespaces, their counters and sysctls, their
//! listeners and whose they are.

mod book;
pub mod census;
mod cgroup;
pub mod netns;
pub mod netstat;
mod owners;
mod places;
mod privilege;
mod proc_tcp;
mod process;
mod sock_diag;
mod sysctls;
mod visit;
