//! Segment of the log: a file of blocks, each a gzip member with a header.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use flate2::{Compression, GzBuilder, read::GzDecoder, write::GzEncoder};
use netqueue_domain::{Timestamp, WallTime};
use zerocopy::{
    IntoBytes as _,
    little_endian::{U32, U64},
};

use super::{
    LogEntry,
    block_header::{BlockHeader, EXTRA, LENGTH},
};

/// Block being filled.
#[derive(Debug)]
pub(super) struct Part {
    encoder: GzEncoder<Vec<u8>>,
    first: u64,
    events: u32,
    /// Size in bytes before compression.
    raw: usize,
}

impl Part {
    /// Empty block whose first event will have this number.
    pub(super) fn new(first: u64) -> Self {
        let header = GzBuilder::new().extra(vec![0; EXTRA]);
        Self { encoder: header.write(Vec::new(), Compression::fast()), first, events: 0, raw: 0 }
    }

    /// Returns the number that its next event must have.
    pub(super) const fn next(&self) -> u64 {
        self.first + self.events as u64
    }

    pub(super) const fn events(&self) -> u32 {
        self.events
    }

    pub(super) const fn raw(&self) -> usize {
        self.raw
    }

    pub(super) fn push(&mut self, line: &LogEntry) -> io::Result<()> {
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        self.encoder.write_all(&json)?;
        self.events += 1;
        self.raw += json.len();
        Ok(())
    }

    /// Returns the bytes to write.
    pub(super) fn finish(self, run: Timestamp, written: WallTime, end: bool) -> io::Result<Vec<u8>> {
        let mut packed = self.encoder.finish()?;
        let size = u32::try_from(packed.len()).map_err(io::Error::other)?;
        let mut mark =
            BlockHeader::over(&packed).ok_or_else(|| io::Error::other("a part without a header"))?;
        mark.run = U64::new(run.as_nanos());
        mark.first = U64::new(self.first);
        mark.written = U64::new(written.as_nanos());
        mark.events = U32::new(self.events);
        mark.size = U32::new(size);
        mark.end = U32::new(end.into());
        packed[..LENGTH].copy_from_slice(mark.checked().as_bytes());
        Ok(packed)
    }
}

/// Reads the headers in a segment with their offsets, and the number of bytes after the last block.
pub(super) fn marks(path: &Path) -> io::Result<(Vec<(u64, BlockHeader)>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let (mut marks, mut offset) = (Vec::new(), 0);
    while offset < length {
        let mut bytes = [0; LENGTH];
        let read = file.read_exact(&mut bytes);
        let mark = read.ok().and_then(|()| BlockHeader::read(&bytes));
        let Some(mark) = mark.filter(|mark| offset + u64::from(mark.size.get()) <= length) else { break };
        marks.push((offset, mark));
        offset += u64::from(mark.size.get());
        file.seek_relative(i64::from(mark.size.get()) - LENGTH as i64)?;
    }
    Ok((marks, length - offset))
}

/// Reads the events of one block.
///
/// # Errors
/// The block is damaged, so that none of it can be trusted.
pub(super) fn lines(file: &mut File, offset: u64, mark: &BlockHeader) -> io::Result<Vec<LogEntry>> {
    file.seek(SeekFrom::Start(offset))?;
    let part = BufReader::new(GzDecoder::new((&*file).take(mark.size.get().into())));
    let lines = part.lines().map(|line| Ok(serde_json::from_str(&line?)?));
    let lines: Vec<LogEntry> = lines.collect::<io::Result<_>>()?;
    let numbered = lines.iter().map(|line| line.seq).eq(mark.first.get()..mark.next());
    if numbered { Ok(lines) } else { Err(io::Error::other("its events are not those its mark tells of")) }
}
