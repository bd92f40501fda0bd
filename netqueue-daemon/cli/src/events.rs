//! `netqueue events`: single drops and resets.

use netqueue_api::{Event, Events};
use std::io::Write as _;

use clap::Args;

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    event_row::cells,
    exit::Exit,
    follow,
    table::{Column, Table},
};
use crate::client::Query;

/// The arguments of `netqueue events`.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    #[command(flatten)]
    filter: EventFilter,
    /// Number of events, the newest ones
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    /// Prints each new event as it arrives, until interrupted
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    asking: ClientArgs,
}

/// Filter of events; the API takes the same parameters.
#[derive(Clone, Debug, Default, Args)]
pub struct EventFilter {
    /// After this time: RFC 3339 or unix seconds
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Charged to the account with this ID (7 or id:7, see `netqueue listeners`)
    #[arg(long, value_name = "ID")]
    listener: Option<String>,
    /// In this network namespace: `host` or its inode number
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// At this local address
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// At this local port
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// drop or reset
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// For this cause, such as accept_queue_full or no_listener
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// At this stage of the handshake: syn, ack or cookie_ack
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// From this client address
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<String>,
}

impl EventFilter {
    /// Appends the given filters to `path`; the daemon validates the values, so the API's rules exist once.
    #[must_use]
    pub fn query(&self, path: &str) -> Query {
        Query::new(path)
            .with("since", self.since.as_ref())
            .with("listener", self.listener.as_ref().map(|id| id.strip_prefix("id:").unwrap_or(id)))
            .with("netns", self.netns.as_ref())
            .with("addr", self.addr.as_ref())
            .with("port", self.port.as_ref())
            .with("kind", self.kind.as_ref())
            .with("cause", self.cause.as_ref())
            .with("stage", self.stage.as_ref())
            .with("peer", self.peer.as_ref())
    }
}

/// Prints the events.
///
/// # Errors
/// Fails if the daemon gives no usable answer or the events cannot be printed.
pub fn command(args: EventsArgs) -> anyhow::Result<std::process::ExitCode> {
    run(async move {
        if args.follow {
            let past = args.filter.query("/api/v1/events");
            let stream = args.filter.query("/api/v1/events/stream");
            return follow::run(&args.asking, &past, &stream, args.limit).await;
        }
        let query = args.filter.query("/api/v1/events").with("limit", Some(args.limit));
        let answer = args.asking.client()?.get::<Events>(&query).await?;
        let mut paper = args.asking.paper();
        if args.asking.json {
            paper.json(&answer.raw)?;
        } else {
            print(&mut paper, &answer.envelope.data.events)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(Exit::Good)
    })
}

/// Prints the oldest event first, as a log does.
/// Causes appear as the filters take them, so that a user can copy them.
fn print(paper: &mut Output, events: &[Event]) -> Result<(), Failure> {
    if events.is_empty() {
        writeln!(paper.out, "no such event")?;
        return Ok(());
    }
    let mut table = Table::new(columns());
    events.iter().rev().for_each(|event| table.push(cells(event)));
    table.write(&mut paper.out, paper.width)?;
    Ok(())
}

/// The columns of a table of events.
#[must_use]
pub fn columns() -> [Column; 7] {
    [
        Column::text("TIME (UTC)"),
        Column::text("LISTENER").at_least(12),
        Column::text("CAUSE").at_least(14),
        Column::text("PEER").at_least(12),
        Column::number("ACCEPT").optional(),
        Column::number("SYN").optional(),
        Column::text("NETNS").at_least(6).optional(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_asked_as_the_api_names_it() {
        let filter = EventFilter {
            addr: Some("[::1]".into()),
            cause: Some("no_listener".into()),
            ..EventFilter::default()
        };
        let query = filter.query("/api/v1/events").with("limit", Some(5));
        assert_eq!(query.path_and_query(), "/api/v1/events?addr=%5B%3A%3A1%5D&cause=no_listener&limit=5");
    }
}
