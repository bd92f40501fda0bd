//! HTTP server, closed to unauthorised clients.
//!
//! Bounded in connections, time and bytes, whatever clients do.

mod access;
mod auth_config;
#[cfg(test)]
mod auth_config_tests;
mod connection;
mod file;
mod guard;
mod limits;
pub(crate) mod problem;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod users;

pub use access::Exposure;
pub use auth_config::AuthConfig;
pub use file::WebConfigError;
pub use limits::{DRAIN, Limits};
pub use server::{BindError, Drained, Server, bind};
