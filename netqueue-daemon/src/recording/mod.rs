//! Recordings of what a daemon observed: gzip-compressed JSON, a header, then one observation a line.
//!
//! `zcat FILE
//! jq` reads one. Whatever was written before a recording was cut off can be read; a final line with `end`
//! shows that nothing was cut off. A file consists of gzip members of about a MiB, each with its checksum.

mod header;
mod reader;
mod writer;

pub use header::Header;
pub use reader::{ReadError, Reader};
pub use writer::Writer;

/// Last line of a recording, which shows that nothing was cut off.
pub const END: &str = "{\"end\":true}";
