//! `netqueue events`: single drops and resets.

use netqueue_api::{Events, Listener, Listeners};
use std::io::Write as _;

use clap::Args;

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    event_row::cells,
    exit::Exit,
    follow,
    selector::Selector,
    table::{Column, Table},
    terminal::plain,
};
use crate::client::{Client, ClientError, Query};

/// The end of the help: examples.
pub const HELP: &str = "\
Examples:
  netqueue events 8080                      the newest drops and resets at one port
  netqueue events nginx --kind reset -n 100
  netqueue events --peer 10.0.0.9 --follow  those of one client, as they happen";

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
    /// Only of this, named as in `netqueue explain`: a port (80), address and port (0.0.0.0:80), ID (id:7),
    /// process (nginx), unit (nginx.service), container:ID, pod:UID or netns:NAME
    #[arg(value_name = "LISTENER", conflicts_with = "listener")]
    only: Option<Selector>,
    /// After this time: RFC 3339 or unix seconds
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Charged to this account: its ID (7, id:7), or any other name that `netqueue explain` takes and that
    /// means one account (0.0.0.0:80, nginx, container:ID); a port is :80
    #[arg(long, value_name = "LISTENER")]
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
    /// Replaces a name of a listener by its id.
    ///
    /// # Errors
    /// The daemon gives no usable answer; or, as the inner error in words, no account or several have the name.
    pub async fn resolved(&self, client: &Client) -> Result<Result<Self, String>, ClientError> {
        let selector = match (&self.only, &self.listener) {
            (None, None) => return Ok(Ok(self.clone())),
            (Some(only), _) => only.clone(),
            (None, Some(name)) => {
                let id = name.strip_prefix("id:").unwrap_or(name);
                if id.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Ok(Ok(self.clone()));
                }
                match name.parse() {
                    Ok(selector) => selector,
                    Err(expected) => return Ok(Err(format!("--listener is {name:?}: {expected}"))),
                }
            }
        };
        let answer = client.get::<Listeners>(&Query::new("/api/v1/listeners")).await?;
        Ok(self.among(&selector, &answer.envelope.data.listeners))
    }

    fn among(&self, selector: &Selector, listeners: &[Listener]) -> Result<Self, String> {
        let meant: Vec<_> = listeners.iter().filter(|one| selector.admits(one)).collect();
        match (meant.as_slice(), selector) {
            ([one], _) => Ok(Self { listener: Some(one.id.clone()), ..self.clone() }),
            ([], _) => Err(format!("netqueue knows nothing of {selector}")),
            (_, Selector::Port(port)) if self.port.is_none() => {
                Ok(Self { listener: None, port: Some(port.to_string()), ..self.clone() })
            }
            (several, _) => {
                let ids: Vec<_> = several.iter().take(5).map(|one| format!("id:{}", one.id)).collect();
                let more = if several.len() > 5 { ", .." } else { "" };
                Err(format!(
                    "{selector} means {} accounts: name one ({}{more})",
                    several.len(),
                    ids.join(", ")
                ))
            }
        }
    }

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
        let filter = match args.filter.resolved(&args.asking.client()?).await? {
            Ok(filter) => filter,
            Err(wrong) => {
                eprintln!("netqueue: {}", plain(&wrong));
                return Ok(Exit::Usage);
            }
        };
        if args.follow {
            let past = filter.query("/api/v1/events");
            let stream = filter.query("/api/v1/events/stream");
            return follow::run(&args.asking, &past, &stream, args.limit).await;
        }
        let query = filter.query("/api/v1/events").with("limit", Some(args.limit));
        let answer = args.asking.client()?.get::<Events>(&query).await?;
        let mut paper = args.asking.paper();
        if args.asking.json {
            paper.json(&answer.raw)?;
        } else {
            print(&mut paper, &answer.envelope.data)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(Exit::Good)
    })
}

/// Prints the oldest event first, as a log does, and says if there are older ones.
/// Causes appear as the filters take them, so that a user can copy them.
fn print(paper: &mut Output, Events { events, next, truncated_before }: &Events) -> Result<(), Failure> {
    if events.is_empty() {
        writeln!(paper.out, "no such event")?;
        return Ok(());
    }
    let mut table = Table::new(columns());
    events.iter().rev().for_each(|event| table.push(cells(event)));
    table.write(&mut paper.out, paper.width)?;
    if next.is_some() {
        writeln!(paper.out, "the newest {}, oldest first; there are more: -n NUMBER", events.len())?;
    } else if truncated_before.is_some() {
        writeln!(paper.out, "oldest first; older events are no longer kept")?;
    }
    Ok(())
}

/// The columns of a table of events.
#[must_use]
pub fn columns() -> [Column; 8] {
    [
        Column::text("TIME (UTC)"),
        Column::text("LISTENER").at_least(12),
        Column::text("KIND").optional(),
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
    fn what_listeners_prints_names_the_account_of_events() {
        let row = |id: &str, netns: &str| -> Listener {
            serde_json::from_value(serde_json::json!({
                "id": id, "kind": "listener", "netns": netns, "addr": "0.0.0.0", "port": 80, "process": "nginx",
                "drops": {"total": 0, "by_cause": []}, "resets": {"total": 0, "by_cause": []},
            }))
            .expect("a listener")
        };
        let rows = [row("7", "host"), row("8", "blue")];
        let of = |name: &str| {
            let filter = EventFilter::default();
            filter.among(&name.parse().expect(name), &rows).map(|filter| (filter.listener, filter.port))
        };
        assert_eq!(of("netns:blue"), Ok((Some("8".into()), None)));
        assert_eq!(of(":80"), Ok((None, Some("80".into()))));
        assert_eq!(of("nginx"), Err("process nginx means 2 accounts: name one (id:7, id:8)".to_owned()));
        assert_eq!(of("redis"), Err("netqueue knows nothing of process redis".to_owned()));
    }

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
