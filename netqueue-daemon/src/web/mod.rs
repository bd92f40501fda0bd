//! The HTTP server: bounded in connections, in time and in bytes, whoever is at the other end, and closed to those who
//! have no business here.

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
