//! What the rest of the system says, outside the kernel side's programs: namespaces, their counters and sysctls, their
//! listeners and whose they are.

mod book;
pub mod census;
pub mod netns;
pub mod netstat;
mod places;
mod proc_tcp;
mod sock_diag;
mod sysctls;
mod visit;
