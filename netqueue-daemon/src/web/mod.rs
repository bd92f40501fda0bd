//! The HTTP server: bounded in connections, in time and in bytes, whoever is at the other end.

mod connection;
mod limits;
mod server;
#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use server::{BindError, Drained, Server, bind};
