//! Reads recordings, including those that were cut off, and rejects other files with the reason.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use netqueue_domain::Observed;

use super::{
    END,
    header::{FORMAT, Header},
};

/// Longest line in bytes; a file with a longer one is not a recording.
const LONGEST: u64 = 256 << 20;

/// Reason why a recording cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is not a recording.
    #[error("this is no recording of netqueue's: {0}")]
    Foreign(String),
    /// The recording has a later format.
    #[error(
        "this recording has format {format}, written by netqueue {version}; this netqueue reads formats up to {FORMAT}: \
         replay it with netqueue {version} or later"
    )]
    Later {
        /// Format of the recording.
        format: u32,
        /// Version of the netqueue that wrote it.
        version: String,
    },
    /// The recording ends without its last line.
    #[error("the recording is cut off after line {lines}: everything before was read")]
    CutOff {
        /// Number of complete lines read.
        lines: u64,
    },
    /// A line cannot be parsed.
    #[error("line {line} of the recording cannot be understood: {source}")]
    Line {
        /// Number of the line.
        line: u64,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// The file is damaged or cannot be read.
    #[error("the recording is damaged after line {lines}: {source}")]
    Damaged {
        /// Number of complete lines read.
        lines: u64,
        /// Error of the read.
        source: io::Error,
    },
}

/// Recording being read.
pub struct Reader {
    lines: Lines,
    header: Header,
    ended: bool,
}

/// Complete lines, counted.
struct Lines {
    from: Box<dyn BufRead + Send>,
    read: u64,
}

impl Reader {
    /// Opens a recording, compressed or as plain lines.
    ///
    /// # Errors
    /// The file is not a recording, or one of a later format.
    pub fn new(from: impl Read + Send + 'static) -> Result<Self, ReadError> {
        let mut from = BufReader::new(from);
        let start = from.fill_buf().map_err(|source| ReadError::Damaged { lines: 0, source })?;
        let compressed = start.starts_with(&[0x1f, 0x8b]);
        let from: Box<dyn BufRead + Send> =
            if compressed { Box::new(BufReader::new(MultiGzDecoder::new(from))) } else { Box::new(from) };
        let mut lines = Lines { from, read: 0 };
        let first = lines.next()?.ok_or_else(|| ReadError::Foreign("it is empty".to_owned()))?;
        Ok(Self { lines, header: header(&first)?, ended: false })
    }

    /// Returns the header, which is the first line.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    fn observed(&mut self) -> Result<Option<Observed>, ReadError> {
        let cut_off = ReadError::CutOff { lines: self.lines.read };
        let line = self.lines.next()?.ok_or(cut_off)?;
        if line.trim_ascii() == END.as_bytes() {
            return Ok(None);
        }
        let line = serde_json::from_slice(&line);
        line.map(Some).map_err(|source| ReadError::Line { line: self.lines.read, source })
    }
}

impl Lines {
    fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut line = Vec::new();
        match (&mut self.from).take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => Ok(None),
            Ok(_) if line.last() == Some(&b'\n') => {
                self.read += 1;
                Ok(Some(line))
            }
            Ok(_) if self.read == 0 => Err(ReadError::Foreign("it has no lines".to_owned())),
            Ok(_) => Err(ReadError::CutOff { lines: self.read }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ReadError::CutOff { lines: self.read })
            }
            Err(source) => Err(ReadError::Damaged { lines: self.read, source }),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Observed, ReadError>;

    /// Reads the next observation. There is none after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.observed().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn header(line: &[u8]) -> Result<Header, ReadError> {
    /// Members that every format has.
    #[derive(serde::Deserialize)]
    struct Any {
        netqueue_recording: u32,
        #[serde(default)]
        version: String,
    }
    let any: Any = serde_json::from_slice(line)
        .map_err(|error| ReadError::Foreign(format!("its first line is not a header: {error}")))?;
    if any.netqueue_recording > FORMAT {
        return Err(ReadError::Later { format: any.netqueue_recording, version: any.version });
    }
    serde_json::from_slice(line).map_err(|source| ReadError::Line { line: 1, source })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::recording::Writer;
    use netqueue_domain::{Health, Netns, Observation, Timestamp};

    const SECONDS: u64 = 5000;

    fn header() -> Header {
        Header::new("6.12.1".to_owned(), Netns::at_attach(7), true, Timestamp::from_nanos(1))
    }

    fn observed(second: u64) -> Observed {
        let health = Health { warnings: vec![format!("{second} {}", "x".repeat(400))], ..Health::default() };
        Observed { time: Timestamp::from_nanos(second), what: Observation::Health(Box::new(health)) }
    }

    fn recorded() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.line(&serde_json::to_vec(&header()).unwrap()).unwrap();
        for second in 1..=SECONDS {
            writer.line(&serde_json::to_vec(&observed(second)).unwrap()).unwrap();
        }
        writer.line(END.as_bytes()).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> (u64, Option<ReadError>) {
        let (mut times, mut error) = (Vec::new(), None);
        for observed in Reader::new(Cursor::new(bytes)).expect("its header is there") {
            match observed {
                Ok(observed) => times.push(observed.time.as_nanos()),
                Err(why) => error = Some(why),
            }
        }
        assert!(times.iter().copied().eq(1..=times.len() as u64), "in order, none left out");
        (times.len() as u64, error)
    }

    #[test]
    fn what_was_recorded_is_read() {
        let bytes = recorded();
        assert_eq!(Reader::new(Cursor::new(bytes.clone())).unwrap().header(), &header());
        assert!(matches!(read(bytes), (SECONDS, None)));
    }

    #[test]
    fn a_recording_that_was_cut_off_is_read_up_to_there_and_says_so() {
        let bytes = recorded();
        let mut furthest = 0;
        for length in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 40] {
            let (seconds, error) = read(bytes[..length].to_vec());
            assert!(seconds > furthest && seconds <= SECONDS, "{seconds}");
            assert!(error.is_some_and(|error| error.to_string().contains("cut off after line")));
            furthest = seconds;
        }
    }

    #[test]
    fn whatever_was_flushed_is_there_though_the_recorder_was_killed() {
        let mut writer = Writer::new(Vec::new());
        writer.line(&serde_json::to_vec(&header()).unwrap()).unwrap();
        (1..=9).for_each(|second| writer.line(&serde_json::to_vec(&observed(second)).unwrap()).unwrap());
        writer.flush().unwrap();
        let (seconds, error) = read(writer.so_far().clone());
        assert!(
            seconds == 9 && error.is_some_and(|error| error.to_string().contains("cut off after line 10"))
        );
    }

    #[test]
    fn plain_lines_are_a_recording_too() {
        let lines = [serde_json::to_string(&header()).unwrap(), serde_json::to_string(&observed(1)).unwrap()];
        let (seconds, error) = read(format!("{}\n", lines.join("\n")).into_bytes());
        assert!(seconds == 1 && matches!(error, Some(ReadError::CutOff { lines: 2 })));
    }

    #[test]
    fn a_damaged_recording_is_not_read_past_the_damage() {
        let mut bytes = recorded();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        let mut whole = Reader::new(Cursor::new(bytes)).expect("its header is there");
        assert!(whole.any(|observed| observed.is_err()));
        assert!(whole.next().is_none());
    }

    #[test]
    fn what_is_no_recording_or_a_later_one_is_refused_in_words() {
        let refused =
            |bytes: Vec<u8>| Reader::new(Cursor::new(bytes)).err().expect("it is refused").to_string();
        assert!(refused(b"".to_vec()).contains("it is empty"));
        assert!(refused(b"\x7fELF\n".to_vec()).contains("no recording of netqueue's"));
        let later = refused(b"{\"netqueue_recording\":2,\"version\":\"9.1.0\",\"new\":[]}\n".to_vec());
        assert!(later.contains("format 2") && later.contains("netqueue 9.1.0 or later"), "{later}");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"#!/bin/sh\n").unwrap();
        assert!(refused(gzip.finish().unwrap()).contains("not a header"));
    }
}
