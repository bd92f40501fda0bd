//! Asking a running daemon over HTTP: the API as the command line and `netqueue top` see it.

mod access;
mod error;
mod http;
pub mod model;
mod query;
mod server;
pub mod socket;
mod sse;

pub use access::Access;
pub use error::ClientError;
pub use http::{Client, Stream};
pub use query::Query;
pub use server::Server;
pub use sse::Message;
