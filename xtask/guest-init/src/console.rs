//! The guest's console: whole lines only, each with a prefix that names its source.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread::{self, JoinHandle};

use guest_init::protocol;

/// Prints one line as PID 1.
pub(crate) fn say(what: impl std::fmt::Display) {
    line(protocol::INIT, &what.to_string());
}

/// Prints one line under a prefix.
pub(crate) fn line(prefix: &str, text: &str) {
    let whole = format!("{prefix}{text}\n");
    let mut out = std::io::stdout().lock();
    // A broken console cannot be reported anywhere else.
    let _ = out.write_all(whole.as_bytes());
    let _ = out.flush();
}

/// Copies a program's output to the console until it ends.
pub(crate) fn copy(from: Option<impl Read + Send + 'static>, prefix: &'static str) -> JoinHandle<()> {
    thread::spawn(move || {
        let Some(from) = from else { return };
        let mut reader = BufReader::new(from);
        let mut raw = Vec::new();
        while reader.read_until(b'\n', &mut raw).is_ok_and(|read| read > 0) {
            line(prefix, String::from_utf8_lossy(&raw).trim_end_matches(['\n', '\r']));
            raw.clear();
        }
    })
}
