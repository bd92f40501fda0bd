//! Messages as server-sent events are written, many to a frame.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
};

use axum::body::Bytes;
use serde::Serialize;

use super::cursor::Cursor;

/// Bytes from which on a frame is full: each is written to the client by itself, which costs more than most messages.
const FRAME: usize = 32 << 10;

/// What a client has not taken yet.
#[derive(Default)]
pub(super) struct Messages {
    full: VecDeque<Bytes>,
    open: Vec<u8>,
}

impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.is_empty()
    }

    /// A message with `data` as JSON.
    pub(super) fn say(&mut self, name: &str, id: Option<Cursor>, data: &impl Serialize) {
        self.push(|text| {
            writeln!(text, "event: {name}")?;
            if let Some(id) = id {
                writeln!(text, "id: {id}")?;
            }
            text.write_all(b"data: ")?;
            // On one line: a line's end within is written as an escape.
            serde_json::to_writer(&mut *text, data)?;
            text.write_all(b"\n\n")
        });
    }

    /// What clients pass over.
    pub(super) fn comment(&mut self, comment: &str) {
        self.push(|text| write!(text, ": {comment}\n\n"));
    }

    /// How many milliseconds a client that lost its connection should wait.
    pub(super) fn retry(&mut self, milliseconds: u32) {
        self.push(|text| write!(text, "retry: {milliseconds}\n\n"));
    }

    /// The next frame; `None` where there is nothing.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.full.pop_front().or_else(|| {
            let open = std::mem::take(&mut self.open);
            (!open.is_empty()).then(|| open.into())
        })
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        let before = self.open.len();
        if write(&mut self.open).is_err() {
            // What cannot be written as JSON does not exist among these types; half a message would spoil the next.
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
