//! Server-sent events, packed into frames.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
};

use axum::body::Bytes;
use serde::Serialize;

use super::cursor::Cursor;

/// Size in bytes at which a frame is complete.
/// Each frame is written to the client separately, which costs more than most messages.
const FRAME: usize = 32 << 10;

/// Messages that the client has not taken yet.
#[derive(Default)]
pub(super) struct Messages {
    full: VecDeque<Bytes>,
    open: Vec<u8>,
}

impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_empty()
    }

    /// Appends a message with `data` as JSON.
    pub(super) fn say(&mut self, name: &str, id: Option<Cursor>, data: &impl Serialize) {
        self.push(|text| {
            writeln!(text, "event: {name}")?;
            if let Some(id) = id {
                writeln!(text, "id: {id}")?;
            }
            text.write_all(b"data: ")?;
            // On one line: JSON escapes line breaks.
            serde_json::to_writer(&mut *text, data)?;
            text.write_all(b"\n\n")
        });
    }

    /// Appends a comment, which clients ignore: it shows them that the connection is alive.
    pub(super) fn comment(&mut self, comment: &str) {
        self.push(|text| write!(text, ": {comment}\n\n"));
    }

    /// Appends the time in milliseconds that a client should wait before it reconnects.
    pub(super) fn retry(&mut self, milliseconds: u32) {
        self.push(|text| write!(text, "retry: {milliseconds}\n\n"));
    }

    /// Takes the next frame; `None` if there is none.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.full.pop_front().or_else(|| {
            let open = std::mem::take(&mut self.open);
            (!open.is_empty()).then(|| open.into())
        })
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let before = self.open.len();
        if write(&mut self.open).is_err() {
            // None of these types can fail to serialise; if one did, half a message would corrupt the next.
            self.open.truncate(before);
        }
        if self.open.len() >= FRAME {
            self.full.push_back(std::mem::take(&mut self.open).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Option<Bytes>) -> String {
        String::from_utf8(frame.expect("a frame").to_vec()).expect("text")
    }

    #[test]
    fn messages_are_written_as_clients_read_them() {
        let mut messages = Messages::default();
        messages.comment("netqueue");
        messages.retry(2000);
        messages.say("drop", Some(Cursor { run: 255, seq: 7 }), &["two\nlines"]);
        messages.say("end", None, &1);
        assert_eq!(
            text(messages.take()),
            ": netqueue\n\nretry: 2000\n\nevent: drop\nid: ff-7\ndata: [\"two\\nlines\"]\n\nevent: end\ndata: 1\n\n"
        );
        assert!(messages.is_empty() && messages.take().is_none());
    }

    #[test]
    fn many_messages_make_few_frames_and_keep_their_order() {
        let mut messages = Messages::default();
        (0..10_000).for_each(|number| messages.say("drop", None, &number));
        let frames: Vec<_> = std::iter::from_fn(|| messages.take()).collect();
        assert!((2..=20).contains(&frames.len()), "{}", frames.len());
        assert!(frames.iter().all(|frame| frame.ends_with(b"\n\n")), "no message is cut");
        let all: String = frames.into_iter().map(|frame| text(Some(frame))).collect();
        let numbers = all.lines().filter_map(|line| line.strip_prefix("data: ")?.parse::<u32>().ok());
        assert!(numbers.eq(0..10_000));
    }
}
