//! Parser of server-sent events, as the WHATWG defines them.

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The `event:` field; `message` if the server sent none.
    pub event: String,
    /// The `data:` lines, joined by newlines.
    pub data: String,
    /// The last `id:` received, from which a new stream can resume.
    pub id: String,
}

/// Incremental parser: takes bytes as they arrive, returns messages once they are complete.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    event: String,
    data: Option<String>,
    id: String,
}

/// Maximum length of a line, more than netqueue sends; the excess is dropped and shows as invalid JSON.
const LONGEST_LINE: usize = 1 << 20;

impl Parser {
    /// Returns the messages that `bytes` complete.
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
            // Comments (heartbeats), `retry`, and fields of later versions.
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
