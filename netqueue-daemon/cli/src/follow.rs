//! `netqueue events --follow`: a log that continues across restarts of the daemon and lost connections.

use netqueue_api::{Ended, Event, Events, Spike};
use std::{io::Write as _, time::Duration};

use anstyle::Style;
use serde::Deserialize;

use super::{
    client_args::{ClientArgs, Failure, Output},
    event_row,
    exit::Exit,
    format, style,
    table::{self, Cell},
    terminal::plain,
};
use crate::client::{Client, ClientError, Message, Query};

/// Pause between two polls of a daemon that has no event stream.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause before a reconnect: the first one, and the longest that doubling reaches.
const PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
/// Maximum number of events per poll.
const MOST: usize = 1000;
/// Column widths that fit IPv4 and the longest cause; longer text shifts the rest of its line.
const WIDTHS: [usize; 7] = [12, 21, 5, 28, 21, 9, 9];

/// A stream's report of events it could not deliver.
#[derive(Debug, Deserialize)]
struct Lost {
    events: Option<u64>,
    reason: String,
}

/// Prints the `recent` newest events, then each new event as it arrives, until interrupted.
///
/// # Errors
/// Fails if the daemon refuses the query, is absent at the first try, or the output cannot be written.
pub async fn run(asking: &ClientArgs, past: &Query, stream: &Query, recent: usize) -> Result<Exit, Failure> {
    let client = asking.client()?;
    let mut log = Log { paper: asking.paper(), json: asking.json, last: 0 };
    log.past(&client, past, recent).await?;
    let (mut last_id, mut pause, mut streams) = (None, PATIENCE[0], true);
    loop {
        let ended = if streams {
            log.stream(&client, stream, &mut last_id, &mut pause).await
        } else {
            tokio::time::sleep(PERIOD).await;
            log.past(&client, past, MOST).await
        };
        match ended {
            // Fetch the events since the stream ended.
            Ok(()) if streams => log.past(&client, past, MOST).await?,
            Ok(()) => pause = PATIENCE[0],
            Err(Failure::Client(ClientError::Version { .. })) if streams => streams = false,
            Err(Failure::Client(error)) if !error.is_refusal() => {
                eprintln!("netqueue: {}; trying again", plain(&error.to_string()));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PATIENCE[1]);
            }
            Err(failure) => return Err(failure),
        }
    }
}

struct Log {
    paper: Output,
    json: bool,
    /// The sequence number of the newest event printed.
    last: u64,
}

impl Log {
    /// Prints events newer than the last one printed, at most `limit`.
    async fn past(&mut self, client: &Client, query: &Query, limit: usize) -> Result<(), Failure> {
        let answer = client.get::<Events>(&query.clone().with("limit", Some(limit))).await?;
        let raw = answer.raw["data"]["events"].as_array().cloned().unwrap_or_default();
        let newest = answer.envelope.data.events.first().map(|event| event.seq);
        // A restarted daemon numbers its events anew.
        if newest.is_some_and(|newest| newest < self.last) {
            self.note("the daemon has started again: its events are numbered anew")?;
            self.last = 0;
        }
        for (event, raw) in answer.envelope.data.events.iter().zip(&raw).rev() {
            self.print(event, &raw.to_string())?;
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        client: &Client,
        query: &Query,
        last_id: &mut Option<String>,
        pause: &mut Duration,
    ) -> Result<(), Failure> {
        let mut stream = client.stream(query, last_id.as_deref()).await?;
        *pause = PATIENCE[0];
        while let Some(messages) = stream.next().await? {
            for message in messages {
                self.hear(&message)?;
                if !message.id.is_empty() {
                    *last_id = Some(message.id);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &Message) -> Result<(), Failure> {
        match message.event.as_str() {
            "drop" | "reset" => match serde_json::from_str::<Event>(&message.data) {
                Ok(event) => self.print(&event, &message.data),
                Err(error) => self.note(&format!("an event that cannot be understood: {error}")),
            },
            "lost" => match serde_json::from_str::<Lost>(&message.data) {
                Ok(Lost { events: Some(number), reason }) => {
                    self.note(&format!("{} not shown: {}", format::plural(number, "event"), plain(&reason)))
                }
                Ok(Lost { events: None, reason }) => {
                    self.note(&format!("events not shown: {}", plain(&reason)))
                }
                Err(_) => self.note("events not shown"),
            },
            name @ ("spike_started" | "spike_ended") => match serde_json::from_str::<Spike>(&message.data) {
                Ok(spike) => self.note(&rise(name == "spike_started", &spike)),
                Err(error) => self.note(&format!("a spike that cannot be understood: {error}")),
            },
            "end" => {
                let ended = serde_json::from_str::<Ended>(&message.data);
                let detail = ended.map_or(String::new(), |ended| format!(": {}", plain(&ended.detail)));
                self.note(&format!("the daemon ended the stream{detail}"))
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, event: &Event, raw: &str) -> Result<(), Failure> {
        if event.seq <= self.last {
            return Ok(());
        }
        self.last = event.seq;
        if self.json {
            writeln!(self.paper.out, "{raw}")?;
        } else {
            let line = line(&event_row::cells(event), self.paper.width);
            writeln!(self.paper.out, "{line}")?;
        }
        self.paper.out.flush()?;
        Ok(())
    }

    /// Prints a remark between the events, on standard error if the events are JSON.
    fn note(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            eprintln!("netqueue: {text}");
        } else {
            writeln!(self.paper.out, "{0}! {text}{0:#}", style::WARN)?;
        }
        Ok(())
    }
}

/// Describes the begin or the end of a spike.
fn rise(begins: bool, spike: &Spike) -> String {
    let (place, cause) = (format::spike_place(spike), format::spike_cause(spike));
    let (drops, peak) = (format::plural(spike.drops, "drop"), format::count(spike.peak_per_second));
    if begins {
        format!("spike since {}: {place} {cause}, {drops} so far", format::clock(&spike.started))
    } else {
        format!(
            "spike over at {}: {place} {cause}, {drops}, {peak}/s at its peak",
            format::clock(&spike.last_drop)
        )
    }
}

/// Formats one event in columns of fixed width.
fn line(cells: &[Cell], width: Option<usize>) -> String {
    let mut room = width.unwrap_or(usize::MAX);
    let mut line = String::new();
    for (cell, column) in cells.iter().zip(WIDTHS) {
        let text = table::cut(cell.text(), room);
        let text = format!("{text:<column$}");
        let text = if room < column { text.trim_end().to_owned() } else { text };
        room = room.saturating_sub(column.max(text.chars().count()) + 2);
        let style: Style = cell.style();
        line.push_str(&format!("{style}{text}{style:#}"));
        if room == 0 {
            break;
        }
        line.push_str("  ");
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_columns_and_the_terminals_width() {
        let cells = [
            "02:00:00.000",
            "0.0.0.0:80",
            "drop",
            "accept_queue_full/cookie_ack",
            "10.0.0.1:40000",
            "9/8",
            "-",
        ];
        let cells = cells.map(Cell::from);
        let wide = line(&cells, None);
        assert_eq!(wide.find("accept"), Some(44), "{wide}");
        for width in 40..100 {
            let narrow = line(&cells, Some(width));
            assert!(narrow.chars().count() <= width, "{width}: {narrow:?}");
        }
    }
}
