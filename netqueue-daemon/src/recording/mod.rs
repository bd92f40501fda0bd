//! Recordings of what a daemon observed: gzip-compressed lines of JSON, a header first, then one observation a line.
//!
//! `zcat FILE | jq` reads one. Whatever was written until a recording was cut off can be read; a line that says `end` tells
//! that nothing was cut. A file is made of gzip members of about a MiB, each with its checksum.

mod header;
mod reader;
mod writer;

pub use header::Header;
pub use reader::{ReadError, Reader};
pub use writer::Writer;

/// The line that says that nothing was cut off.
pub const END: &str = "{\"end\":true}";
