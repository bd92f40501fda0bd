//! Server-sent events out of a stream of bytes, as the WHATWG defines them.

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its `event:`, `message` where the server gave none.
    pub event: String,
    /// Its `data:` lines, joined by newlines.
    pub data: String,
    /// The `id:` in force, to resume from.
    pub id: String,
}

/// Takes bytes as they come, gives messages as they become whole.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: String,
    data: Option<String>,
    id: String,
}

/// More than any line of a netqueue; beyond it the rest of a line is dropped, which shows as bad JSON.
const LONGEST_LINE: usize = 1 << 20;

impl Parser {
    /// The messages that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line).into_owned();
                messages.extend(self.end_line(line.trim_end_matches('\r')));
            } else if self.line.len() < LONGEST_LINE {
                self.line.push(*byte);
            }
        }
        messages
    }

    fn end_line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(Message { event, data, id: self.id.clone() });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments (heartbeats), `retry`, and what later versions may add.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let text =
            ": hello\r\n\r\nid: 7\nevent: drop\ndata: {\"a\":\ndata:1}\n\ndata\n\n: beat\n\ndata: half";
        let expected = [
            Message { event: "drop".into(), data: "{\"a\":\n1}".into(), id: "7".into() },
            Message { event: "message".into(), data: String::new(), id: "7".into() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let messages: Vec<_> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.push(bytes)).collect();
            assert_eq!(messages, expected, "cut every {size} bytes");
        }
    }
}
