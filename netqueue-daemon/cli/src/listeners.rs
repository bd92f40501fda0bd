//! `netqueue listeners`: a table of every account.
//! Columns: its queues and their limits, drops and resets with the main cause, waiting times, owner.

use netqueue_api::{AccountKind, Listener, Listeners, Part, Queue};
use std::{cmp::Reverse, io::Write as _, process::ExitCode};

use anstyle::Style;
use clap::{Args, ValueEnum};

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    exit::Exit,
    format,
    selector::Selector,
    style,
    table::{Cell, Column, Table},
    terminal::plain,
};
use crate::client::Query;

/// The end of the help: examples.
pub const HELP: &str = "\
Examples:
  netqueue listeners --trouble        those that have dropped or reset something
  netqueue listeners nginx.service    those of one unit, with their queues";

/// The arguments of `netqueue listeners`.
#[derive(Clone, Debug, Args)]
pub struct ListenersArgs {
    /// Only these, named as in `netqueue explain`: a port (80), address and port (0.0.0.0:80), ID (id:7),
    /// process (nginx, pid:812), unit (nginx.service), container:ID, pod:UID or netns:NAME
    listener: Option<Selector>,
    /// In this network namespace: `host` or its inode number
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// Of this kind: listener, endpoint, ephemeral, other or gone
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only listeners that dropped or reset something
    #[arg(short, long)]
    trouble: bool,
    /// Omits listeners that were closed
    #[arg(short, long)]
    open: bool,
    /// Sort order
    #[arg(short, long, value_enum, value_name = "BY", default_value_t)]
    sort: Order,
    #[command(flatten)]
    asking: ClientArgs,
}

/// The sort order of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Most drops first
    #[default]
    Drops,
    /// Fullest accept queue first
    Fullness,
    /// Most resets first
    Resets,
    /// By namespace, address and port
    Name,
}

/// Prints the table. Exit code 1 means that no account matches; with --trouble that is good news.
///
/// # Errors
/// Fails if the daemon gives no usable answer or the table cannot be printed.
pub fn command(args: ListenersArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let query = Query::new("/api/v1/listeners")
            .with("netns", args.netns.as_ref())
            .with("kind", args.kind.as_ref());
        let mut answer = args.asking.client()?.get::<Listeners>(&query).await?;
        let fits = |one: &Listener| {
            args.listener.as_ref().is_none_or(|wanted| wanted.admits(one))
                && (!args.trouble || one.drops.total > 0 || one.resets.total > 0)
                && !(args.open && one.listener.as_ref().is_some_and(|socket| socket.closed.is_some()))
        };
        let mut rows: Vec<_> = answer.envelope.data.listeners.iter().filter(|one| fits(one)).collect();
        sort(&mut rows, args.sort);
        let mut paper = args.asking.paper();
        if args.asking.json {
            let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
            let all = answer.raw["data"]["listeners"].as_array_mut().map(std::mem::take).unwrap_or_default();
            let place = |one: &serde_json::Value| ids.iter().position(|id| one["id"].as_str() == Some(*id));
            let mut kept: Vec<_> = all.into_iter().filter_map(|one| Some((place(&one)?, one))).collect();
            kept.sort_by_key(|(place, _)| *place);
            answer.raw["data"]["listeners"] = kept.into_iter().map(|(_, one)| one).collect();
            paper.json(&answer.raw)?;
        } else {
            print(&mut paper, &rows, &answer.envelope.coverage.taken)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        let bad = if args.trouble { !rows.is_empty() } else { rows.is_empty() };
        Ok(if bad { Exit::BadNews } else { Exit::Good })
    })
}

fn sort(rows: &mut [&Listener], order: Order) {
    let name = |one: &Listener| (one.netns.clone(), one.addr, one.port, one.id.clone());
    let fullness = |one: &Listener| {
        one.accept_queue.map_or(0, |queue| u64::from(queue.length) * 1_000_000 / (u64::from(queue.limit) + 1))
    };
    match order {
        Order::Drops => rows.sort_by_key(|one| (Reverse((one.drops.total, one.resets.total)), name(one))),
        Order::Fullness => rows.sort_by_key(|one| (Reverse(fullness(one)), name(one))),
        Order::Resets => rows.sort_by_key(|one| (Reverse(one.resets.total), name(one))),
        Order::Name => rows.sort_by_key(|one| name(one)),
    }
}

fn print(paper: &mut Output, rows: &[&Listener], now: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        writeln!(paper.out, "no account matches")?;
        return Ok(());
    }
    table(rows, now).write(&mut paper.out, paper.width)?;
    Ok(())
}

fn table(rows: &[&Listener], now: &str) -> Table {
    let mut table = Table::new([
        Column::text("LISTENER").at_least(12),
        Column::text("OWNER").at_least(8),
        Column::text("ACCEPT QUEUE"),
        Column::number("DROPPED"),
        Column::number("RESETS"),
        Column::text("ID"),
        Column::text("LIMITED BY").at_least(9).optional(),
        Column::text("WAIT P50/P99").optional(),
        Column::text("MOSTLY BECAUSE").at_least(14).optional(),
        Column::number("SYN").optional(),
        Column::text("NETNS").at_least(4).optional(),
        Column::text("AGE").optional(),
        Column::text("UNIT").at_least(8).optional(),
    ]);
    for row in rows {
        let closed = row.listener.as_ref().is_some_and(|socket| socket.closed.is_some());
        let mark = |number: u64, style| {
            if number == 0 { Cell::from("-") } else { Cell::styled(format::count(number), style) }
        };
        table.push([
            Cell::styled(format::place(row.addr, row.port), if closed { style::DIM } else { style::HEAD }),
            whose(row).into(),
            if closed { Cell::styled("closed", style::DIM) } else { queue(row.accept_queue) },
            mark(row.drops.total, style::BAD),
            mark(row.resets.total, style::WARN),
            format!("id:{}", plain(&row.id)).into(),
            limited_by(row).into(),
            wait(row).into(),
            why(row).into(),
            format::queue(row.syn_queue).into(),
            plain(&row.netns).into(),
            age(row, now).into(),
            place(row).into(),
        ]);
    }
    table
}

/// Formats an accept queue as bar and numbers, `▰▰▱▱▱▱▱▱ 33/128`, in red if it is full.
fn queue(queue: Option<Queue>) -> Cell {
    let Some(queue) = queue else { return Cell::styled("-", style::DIM) };
    let Queue { length, limit } = queue;
    let colour = match length {
        _ if queue.is_full() => style::BAD,
        length if length > limit / 2 => style::WARN,
        0 => Style::new(),
        _ => style::GOOD,
    };
    Cell::styled(format!("{} {length}/{limit}", bar(length, limit)), colour)
}

/// Draws a bar of eight steps, at least one of them filled unless the queue is empty.
/// An accept queue takes one connection more than its limit, so it is full at `limit + 1`.
fn bar(length: u32, limit: u32) -> String {
    const STEPS: u64 = 8;
    let (length, room) = (u64::from(length), u64::from(limit) + 1);
    let full = (length.min(room) * STEPS).div_ceil(room);
    (0..STEPS).map(|step| if step < full { '▰' } else { '▱' }).collect()
}

/// Formats the listener's age: `3 h 20 min`, or `≥ 12 min` if its listen() call was not seen.
/// The lower bound is the time since netqueue found the listener.
fn age(row: &Listener, now: &str) -> String {
    let Some(socket) = row.listener.as_ref().filter(|socket| socket.closed.is_none()) else {
        return "-".to_owned();
    };
    let span = |since| format::seconds_between(since, now).map(format::span);
    match (socket.opened.as_deref().and_then(span), span(&socket.found)) {
        (Some(age), _) => age,
        (None, Some(at_least)) => format!("≥ {at_least}"),
        (None, None) => "?".to_owned(),
    }
}

/// Formats the cause of the accept queue's limit in terms of the setting to change.
fn limited_by(row: &Listener) -> String {
    let Some(limit) = row.listener.as_ref().map(|socket| &socket.limit) else { return String::new() };
    match (limit.limited_by.as_str(), limit.listen_argument) {
        ("listen_argument", Some(argument)) => format!("listen({argument})"),
        ("listen_argument", None) => "listen()".to_owned(),
        ("earlier_somaxconn", _) => "somaxconn then".to_owned(),
        ("listen_call", _) => "not known".to_owned(),
        (other, _) => plain(other),
    }
}

/// Formats the median and the 99th percentile of the time until accept().
fn wait(row: &Listener) -> String {
    let waits = row.traffic.as_ref().and_then(|traffic| traffic.accept_wait_seconds.as_ref());
    match waits.map(|waits| (waits.p50, waits.p99)) {
        Some((Some(p50), Some(p99))) => format!("{}/{}", format::waited(p50), format::waited(p99)),
        Some(_) | None => "-".to_owned(),
    }
}

/// Returns the owner's container, else its systemd unit.
fn place(row: &Listener) -> String {
    const SHORT_ID: usize = 12;
    let owners = row.listener.as_ref().and_then(|socket| socket.owners.as_ref());
    let Some(owner) = owners.and_then(|owners| owners.first()) else { return String::new() };
    match &owner.container {
        Some(id) => plain(&id.chars().take(SHORT_ID).collect::<String>()),
        None => plain(owner.unit.as_deref().unwrap_or_default()),
    }
}

/// Formats the owner: `nginx 812 +4` is the first process, its PID, and the number of others.
/// Without an owner, returns the reason why it is unknown, or a description of the account's kind.
fn whose(row: &Listener) -> String {
    if let Some(socket) = &row.listener {
        let owners = socket.owners.as_deref().unwrap_or_default();
        let unknown = || socket.unknown.iter().find(|unknown| unknown.what == "owners");
        return match owners.split_first() {
            Some((first, others)) => {
                let more = if others.is_empty() { String::new() } else { format!(" +{}", others.len()) };
                let ended = if first.ended { " (ended)" } else { "" };
                format!("{} {}{more}{ended}", plain(&first.comm), first.pid)
            }
            None => unknown().map_or_else(|| "?".to_owned(), |why| format!("? ({})", plain(&why.detail))),
        };
    }
    match (row.process.as_str(), &row.kind) {
        ("", AccountKind::Endpoint) => "(not a listener's)".to_owned(),
        ("", AccountKind::Ephemeral) => "(client ports)".to_owned(),
        ("", AccountKind::Other) => "(did not fit)".to_owned(),
        ("", AccountKind::Gone) => "(ended)".to_owned(),
        (name, _) => plain(name),
    }
}

/// Returns the most frequent cause; a drop's takes precedence over a reset's.
fn why(row: &Listener) -> String {
    let part = Part::largest(row.drops.parts()).or_else(|| Part::largest(row.resets.parts()));
    part.map_or_else(String::new, |part| {
        let stage = part.stage.map(|stage| format!("/{}", plain(stage))).unwrap_or_default();
        format!("{}{stage}", plain(part.cause))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn row(port: u16, comm: &str, length: u32, drops: u64) -> Listener {
        let part = json!({"cause": "accept_queue_full", "stage": "syn", "count": drops});
        serde_json::from_value(json!({
            "id": port.to_string(), "kind": "listener", "netns": "host", "addr": "0.0.0.0", "port": port,
            "process": comm, "accept_queue": {"length": length, "limit": 128}, "syn_queue": null,
            "drops": {"total": drops, "by_cause": if drops > 0 { vec![part] } else { vec![] }},
            "resets": {"total": 0, "by_cause": []},
            "traffic": {"accepted": null, "accept_queue_peak": null, "accept_wait_seconds": {"count": 9, "p50": 0.0004, "p99": 1.25}},
            "listener": {
                "inode": 900, "family": "ipv4", "closed": null, "opened": null, "found": "2026-11-21T09:40:00Z",
                "limit": {"backlog": 128, "limited_by": "listen_argument", "listen_argument": 128},
                "owners": [
                    {"pid": 812, "comm": comm, "executable": "/usr/sbin/nginx", "unit": "nginx.service", "ended": false},
                    {"pid": 813, "comm": comm, "ended": false},
                ],
                "unknown": [],
            },
        }))
        .expect("a row")
    }

    const NOW: &str = "2026-11-21T10:00:00Z";

    fn written(rows: &[&Listener], width: usize) -> String {
        let mut out = Vec::new();
        table(rows, NOW).write(&mut anstream::StripStream::new(&mut out), Some(width)).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_bar_is_empty_only_when_the_queue_is_and_full_only_when_it_is() {
        assert_eq!((bar(0, 128).as_str(), bar(1, 128).as_str()), ("▱▱▱▱▱▱▱▱", "▰▱▱▱▱▱▱▱"));
        assert_eq!((bar(129, 128).as_str(), bar(64, 128).as_str()), ("▰▰▰▰▰▰▰▰", "▰▰▰▰▱▱▱▱"));
        assert_eq!(bar(5, 0), "▰▰▰▰▰▰▰▰");
        assert_eq!(bar(u32::MAX, u32::MAX).chars().count(), 8);
    }

    #[test]
    fn a_row_says_queue_limit_wait_owner_and_cause() {
        let row = row(80, "nginx", 33, 24);
        assert_eq!((limited_by(&row).as_str(), wait(&row).as_str()), ("listen(128)", "400 µs/1.2 s"));
        assert_eq!((whose(&row).as_str(), place(&row).as_str()), ("nginx 812 +1", "nginx.service"));
        let text = written(&[&row], 140);
        for said in
            ["▰▰▰▱▱▱▱▱ 33/128", "nginx 812 +1", "listen(128)", "400 µs/1.2 s", "accept_queue_full/syn"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn an_age_that_is_not_known_is_told_as_what_it_is_at_least() {
        let mut row = row(80, "nginx", 33, 24);
        assert_eq!(age(&row, NOW), "≥ 20 min");
        let socket = row.listener.as_mut().expect("it is a listener");
        socket.opened = Some("2026-11-21T09:59:15.5Z".to_owned());
        assert_eq!(age(&row, NOW), "44 s");
        assert!(written(&[&row], 200).contains("44 s"));
        let socket = row.listener.as_mut().expect("it is a listener");
        (socket.opened, socket.found) = (None, String::new());
        assert_eq!(age(&row, NOW), "?");
        row.listener = None;
        assert_eq!(age(&row, NOW), "-");
    }

    #[test]
    fn it_fits_eighty_columns_and_more() {
        let long = row(65_535, "fifteen-letters", 4096, 1_234_567_890);
        for width in [80, 100, 120, 200] {
            let text = written(&[&row(80, "nginx", 33, 24), &long], width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
            assert!(text.contains("1,234,567,890"), "{text}");
        }
    }

    #[test]
    fn an_owner_that_is_not_known_says_why() {
        let mut row = row(80, "", 0, 0);
        if let Some(socket) = &mut row.listener {
            socket.owners = None;
            socket.unknown = vec![
                serde_json::from_value(json!({
                    "what": "owners", "why": "missing_capability",
                    "detail": "missing CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
                }))
                .expect("it is one"),
            ];
        }
        assert_eq!(whose(&row), "? (missing CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)");
    }
}
