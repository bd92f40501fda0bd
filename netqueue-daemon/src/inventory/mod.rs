//! What the rest of the system says, outside the kernel side's programs: namespaces and their counters.

pub mod netns;
pub mod netstat;
