//! Code that the guest's PID 1 and the harness on the host share.
//! This is the console protocol, the job file, and one small HTTP client.

pub mod http;
pub mod job;
pub mod protocol;
