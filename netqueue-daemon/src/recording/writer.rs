//! Writes recordings: compressed, and complete up to the last flush whenever they are cut off.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

/// Bytes of JSON in one gzip member, each of which ends with a checksum.
const MEMBER: u64 = 1 << 20;

/// Recording being written.
pub struct Writer<W: Write> {
    /// Gzip member being written; `None` only between two members, or after that failed.
    member: Option<GzEncoder<W>>,
    in_member: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a recording.
    pub fn new(into: W) -> Self {
        Self { member: Some(GzEncoder::new(into, Compression::default())), in_member: 0 }
    }

    /// Writes one line, given without its line break.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let member = self.member()?;
        member.write_all(line)?;
        member.write_all(b"\n")?;
        self.in_member += line.len() as u64 + 1;
        if self.in_member >= MEMBER {
            let into = self.member.take().ok_or_else(ended)?.finish()?;
            self.member = Some(GzEncoder::new(into, Compression::default()));
            self.in_member = 0;
        }
        Ok(())
    }

    /// Makes everything written so far readable.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.member()?.flush()
    }

    /// Ends the last member and returns the underlying writer.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let mut into = self.member.take().ok_or_else(ended)?.finish()?;
        into.flush()?;
        Ok(into)
    }

    fn member(&mut self) -> io::Result<&mut GzEncoder<W>> {
        self.member.as_mut().ok_or_else(ended)
    }
}

fn ended() -> io::Error {
    io::Error::other("an earlier write failed")
}

#[cfg(test)]
impl Writer<Vec<u8>> {
    /// Returns what has been written so far.
    pub(super) fn so_far(&self) -> &Vec<u8> {
        self.member.as_ref().expect("no write failed").get_ref()
    }
}
