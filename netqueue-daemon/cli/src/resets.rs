//! `netqueue resets`: who sent resets, and why.

use netqueue_api::{AccountKind, Listener, Listeners, Part};
use std::{io::Write as _, process::ExitCode};

use clap::Args;
use netqueue_domain::glossary;
use serde_json::{Value, json};

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    exit::Exit,
    format,
    selector::{self, Selector},
    style,
    table::{Cell, Column, Table},
    terminal::plain,
};
use crate::client::{Answer, Query};

/// The end of the help: examples.
pub const HELP: &str = "\
Examples:
  netqueue resets             who sent resets, and why
  netqueue resets 8080        those from one port
  netqueue resets --cause after_close";

/// The arguments of `netqueue resets`.
#[derive(Clone, Debug, Args)]
pub struct ResetsArgs {
    /// Only of these, named as in `netqueue explain`: a port (80), address and port (0.0.0.0:80), ID
    /// (id:7), process (nginx), unit (nginx.service), container:ID, pod:UID or netns:NAME
    listener: Option<Selector>,
    /// In this network namespace: `host` or its inode number
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// From this local address
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<String>,
    /// From this local port
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// For this cause only
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    #[command(flatten)]
    asking: ClientArgs,
}

/// The resets that one account sent for one cause.
struct Row<'a> {
    from: &'a Listener,
    part: Part<'a>,
}

/// Prints the resets by account and cause, the most frequent first.
///
/// # Errors
/// Fails if the daemon gives no usable answer or the resets cannot be printed.
pub fn command(args: ResetsArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        if let Some(wrong) =
            args.cause.as_deref().filter(|cause| glossary::find("reset", cause, None).is_none())
        {
            let known = glossary::entries().filter(|entry| entry.what.kind() == "reset");
            let known: Vec<_> = known.map(|entry| entry.what.cause()).collect();
            eprintln!("netqueue: --cause is {wrong:?}: expected one of {}", known.join(", "));
            return Ok(Exit::Usage);
        }
        let query = Query::new("/api/v1/listeners")
            .with("netns", args.netns.as_ref())
            .with("addr", args.addr.as_ref())
            .with("port", args.port.as_ref());
        let answer = args.asking.client()?.get::<Listeners>(&query).await?;
        let wanted = |one: &&Listener| args.listener.as_ref().is_none_or(|wanted| wanted.admits(one));
        let listeners: Vec<_> = answer.envelope.data.listeners.iter().filter(wanted).collect();
        let rows = rows(&listeners, args.cause.as_deref());
        let mut paper = args.asking.paper();
        if args.asking.json {
            paper.json(&as_json(&answer, &rows))?;
        } else {
            print(&mut paper, &rows, &answer.envelope.data.listeners)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(Exit::Good)
    })
}

fn rows<'a>(listeners: &[&'a Listener], cause: Option<&str>) -> Vec<Row<'a>> {
    let parts = listeners.iter().flat_map(|&from| from.resets.parts().map(move |part| Row { from, part }));
    let mut rows: Vec<_> = parts.filter(|row| cause.is_none_or(|cause| row.part.cause == cause)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.part.count));
    rows
}

/// Returns the listener that takes connections to an endpoint, preferably one that is open.
fn server<'a>(endpoint: &Listener, all: &'a [Listener]) -> Option<&'a Listener> {
    if endpoint.kind != AccountKind::Endpoint {
        return None;
    }
    let place = |one: &Listener| (one.netns_inode, one.netns_generation, one.port);
    let takes = |one: &&Listener| {
        one.kind == AccountKind::Listener
            && place(one) == place(endpoint)
            && endpoint.addr.is_some_and(|addr| selector::takes(one, addr))
    };
    let is_open = |one: &&Listener| one.listener.as_ref().is_some_and(|socket| socket.closed.is_none());
    all.iter().filter(takes).max_by_key(is_open)
}

fn print(paper: &mut Output, rows: &[Row<'_>], all: &[Listener]) -> Result<(), Failure> {
    if rows.is_empty() {
        writeln!(paper.out, "no such reset since netqueue attached")?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::number("RESETS"),
        Column::text("CAUSE"),
        Column::text("FROM").at_least(15),
        Column::text("WHAT").at_least(8),
        Column::text("PROCESS").at_least(7),
        Column::text("NETNS").at_least(6).optional(),
    ]);
    for Row { from, part } in rows {
        let server = server(from, all);
        let what = match &from.kind {
            AccountKind::Endpoint => server.map_or("not a listener's", |_| "connections"),
            AccountKind::Ephemeral => "client ports",
            AccountKind::Other => "did not fit",
            kind @ (AccountKind::Listener | AccountKind::Gone | AccountKind::Unknown(_)) => kind.as_str(),
        };
        table.push([
            Cell::styled(format::count(part.count), style::HEAD),
            plain(part.cause).into(),
            format::place(from.addr, from.port).into(),
            plain(what).into(),
            plain(server.map_or(&from.process, |server| &server.process)).into(),
            plain(&from.netns).into(),
        ]);
    }
    table.write(&mut paper.out, paper.width)?;
    let mut named: Vec<&str> = Vec::new();
    for Row { part, .. } in rows {
        if named.contains(&part.cause) {
            continue;
        }
        named.push(part.cause);
        if let Some(entry) = glossary::find("reset", part.cause, None) {
            writeln!(paper.out, "\n{1}{0}{1:#}: {2}", part.cause, style::HEAD, entry.title)?;
            paper.text("  ", &format!("{} {}", entry.meaning, entry.look))?;
        }
    }
    Ok(())
}

fn as_json(answer: &Answer<Listeners>, rows: &[Row<'_>]) -> Value {
    let rows = rows.iter().map(|Row { from, part }| {
        json!({
            "count": part.count, "cause": part.cause, "listener": from.id, "kind": from.kind, "netns": from.netns,
            "addr": from.addr, "port": from.port, "process": from.process,
            "meaning": glossary::find("reset", part.cause, None).map(|entry| entry.meaning),
        })
    });
    let mut whole = answer.raw.clone();
    whole["data"] = json!({ "resets": rows.collect::<Vec<_>>() });
    whole
}
