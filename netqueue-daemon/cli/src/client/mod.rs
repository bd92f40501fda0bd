//! HTTP client of a running daemon, for the command line and `netqueue top`.

mod access;
mod answer;
mod error;
mod http;

mod query;
mod server;

mod sse;

pub use access::Access;
pub use answer::{Answer, Version};
pub use error::ClientError;
pub use http::{Client, Endless, Stream};
pub use query::Query;
pub use server::Server;
pub use sse::Message;
