//! HTTP server, closed to unauthorised clients.
//!
//! Bounded in connections, time and bytes, whatever clients do.

mod access;
mod connection;
mod file;
mod guard;
mod limits;
pub(crate) mod problem;
mod secured;
#[cfg(test)]
mod secured_tests;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod users;

pub use access::Exposure;
pub use file::WebConfigError;
pub use limits::Limits;
pub use secured::Secured;
pub use server::{BindError, Drained, Server, bind};
