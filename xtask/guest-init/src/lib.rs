//! What the guest's PID 1 and the harness on the host must agree on: console lines, the job file, one small HTTP client.

pub mod http;
pub mod job;
pub mod protocol;
