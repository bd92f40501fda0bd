//! `netqueue listeners`: every listener with its queue, what bounds it, what it dropped, how long clients wait, and whose
//! it is.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use anstyle::Style;
use clap::Args;
use serde_json::Value;

use super::{
    ask::{Asking, Failure, Paper, run},
    exit::Exit,
    format,
    selector::Selector,
    style,
    table::{Cell, Column, Table},
    terminal::plain,
};
use crate::client::{
    Query,
    details::{Details, Owner},
    model::{Listener, Listeners},
};

/// The arguments of `netqueue listeners`.
#[derive(Clone, Debug, Args)]
pub struct ListenersArgs {
    /// Only these: a port, an address and port, a process, or an id
    #[arg(value_name = "LISTENER")]
    only: Vec<Selector>,
    /// In this network namespace: `host`, its name, or its inode number
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// Only those that dropped something
    #[arg(long)]
    dropping: bool,
    /// Also those that are closed
    #[arg(long)]
    closed: bool,
    /// A line for each owner, and what is not known and why
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Prints them, as `ss -lnt` does, by port.
///
/// # Errors
/// They cannot be printed.
pub fn command(args: ListenersArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let query =
            Query::new("/api/v1/listeners").with("kind", Some("listener")).with("netns", args.netns.as_ref());
        let mut answer = args.asking.client().get::<Listeners>(&query).await?;
        let rows = select(&args, &answer.envelope.data.listeners);
        let mut paper = args.asking.paper();
        if args.asking.json {
            keep_rows(&mut answer.raw, &rows);
            paper.json(&answer.raw)?;
        } else {
            print(&mut paper, &args, &rows)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(Exit::Good)
    })
}

fn select<'a>(args: &ListenersArgs, listeners: &'a [Listener]) -> Vec<&'a Listener> {
    let wanted = |row: &&Listener| {
        (args.closed || !row.is_closed())
            && (!args.dropping || row.drops.total > 0)
            && (args.only.is_empty() || args.only.iter().any(|only| only.admits(row)))
    };
    let mut rows: Vec<_> = listeners.iter().filter(wanted).collect();
    rows.sort_by(|a, b| {
        let place = |row: &Listener| (row.netns != "host", row.netns.clone(), row.port, row.addr);
        place(a).cmp(&place(b))
    });
    rows
}

/// Leaves in the daemon's own answer what was asked for.
fn keep_rows(raw: &mut Value, rows: &[&Listener]) {
    let kept: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    if let Some(listeners) = raw["data"]["listeners"].as_array_mut() {
        listeners.retain(|row| row["id"].as_str().is_some_and(|id| kept.contains(&id)));
    }
}

fn print(paper: &mut Paper, args: &ListenersArgs, rows: &[&Listener]) -> Result<(), Failure> {
    if rows.is_empty() {
        writeln!(paper.out, "no such listener")?;
        return Ok(());
    }
    table(rows).write(&mut paper.out, paper.width)?;
    if args.verbose {
        rows.iter().try_for_each(|row| details(paper, row))?;
    }
    Ok(())
}

fn table(rows: &[&Listener]) -> Table {
    let several_namespaces = rows.iter().any(|row| row.netns != "host");
    let mut table = Table::new([
        Column::text("LISTENER").at_least(12),
        Column::text("QUEUE"),
        Column::text("LIMITED BY").at_least(9),
        Column::number("DROPS"),
        Column::text("WAIT P50/P99").optional(),
        Column::text("OWNER").at_least(8),
        Column::text("MOSTLY").at_least(10).optional(),
        Column::text("UNIT").at_least(10).optional(),
        Column::text(if several_namespaces { "NETNS" } else { "" }).at_least(4).optional(),
    ]);
    for row in rows {
        let netns = if several_namespaces { plain(&row.netns) } else { String::new() };
        table.push([
            Cell::styled(
                format::place(row.addr, row.port),
                if row.is_closed() { style::DIM } else { Style::new() },
            ),
            queue(row),
            limited_by(row.listener.as_ref()).into(),
            Cell::styled(
                format::count(row.drops.total),
                if row.drops.total > 0 { style::BAD } else { Style::new() },
            ),
            wait(row).into(),
            owner(row).into(),
            mostly(row).into(),
            place(row).into(),
            netns.into(),
        ]);
    }
    table
}

/// `▰▰▱▱▱▱▱▱ 33/128`, red where it is full.
fn queue(row: &Listener) -> Cell {
    let Some(queue) = row.accept_queue else { return Cell::styled("?", style::DIM) };
    let colour = match queue.length {
        length if length > queue.limit => style::BAD,
        length if length > queue.limit / 2 => style::WARN,
        0 => Style::new(),
        _ => style::GOOD,
    };
    Cell::styled(format!("{} {}/{}", bar(queue.length, queue.limit), queue.length, queue.limit), colour)
}

/// Eight steps. An accept queue holds one more than its limit; whatever waits shows at least one step.
fn bar(length: u32, limit: u32) -> String {
    const STEPS: u64 = 8;
    let (length, room) = (u64::from(length), u64::from(limit) + 1);
    let full = (length.min(room) * STEPS).div_ceil(room);
    (0..STEPS).map(|step| if step < full { '▰' } else { '▱' }).collect()
}

/// In words that say what would have to change.
fn limited_by(details: Option<&Details>) -> String {
    let Some(limit) = details.map(|details| &details.limit) else { return "?".to_owned() };
    match limit.limited_by.as_str() {
        "listen_argument" => match limit.listen_argument {
            Some(argument) => format!("listen({argument})"),
            None => "listen()".to_owned(),
        },
        "somaxconn" => "somaxconn".to_owned(),
        "earlier_somaxconn" => "somaxconn then".to_owned(),
        "listen_call" => "listen() then".to_owned(),
        other => plain(other),
    }
}

fn wait(row: &Listener) -> String {
    let waits = row.traffic.as_ref().and_then(|traffic| traffic.accept_wait_seconds.as_ref());
    match waits.map(|waits| (waits.p50, waits.p99)) {
        Some((Some(p50), Some(p99))) => format!("{}/{}", duration(p50), duration(p99)),
        Some(_) | None => "-".to_owned(),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("{:.0}us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0}ms", seconds * 1e3),
        seconds => format!("{seconds:.1}s"),
    }
}

/// `nginx 812 +4`: the process it is named after, its number, and how many hold it beside.
fn owner(row: &Listener) -> String {
    let Some(owners) = row.listener.as_ref().and_then(|details| details.owners.as_ref()) else {
        let why = row.listener.as_ref().and_then(|details| details.why("owners"));
        return why.map_or_else(|| "?".to_owned(), |why| format!("? ({})", plain(why)));
    };
    let Some(first) = owners.first() else { return "?".to_owned() };
    let others = match owners.len() - 1 {
        0 => String::new(),
        others => format!(" +{others}"),
    };
    let ended = if first.ended { " (ended)" } else { "" };
    format!("{} {}{others}{ended}", plain(&first.comm), first.pid)
}

/// The commonest cause.
fn mostly(row: &Listener) -> String {
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for part in &row.drops.by_cause {
        *causes.entry(&part.cause).or_default() += part.count;
    }
    causes.into_iter().max_by_key(|(_, count)| *count).map(|(cause, _)| plain(cause)).unwrap_or_default()
}

/// Where the system put its owner: the container, else the unit.
fn place(row: &Listener) -> String {
    const SHORT_ID: usize = 12;
    let Some(owner) = row.listener.as_ref().and_then(Details::owner) else { return String::new() };
    let container = owner.container.as_deref().map(|id| id.chars().take(SHORT_ID).collect::<String>());
    match (&owner.runtime, container) {
        (Some(runtime), Some(id)) => plain(&format!("{runtime}:{id}")),
        (None, Some(id)) => plain(&id),
        (_, None) => plain(owner.unit.as_deref().unwrap_or_default()),
    }
}

fn details(paper: &mut Paper, row: &Listener) -> Result<(), Failure> {
    let Some(details) = &row.listener else { return Ok(()) };
    let name = format::place(row.addr, row.port);
    writeln!(
        paper.out,
        "\n{1}{name}{1:#} inode {0}, {2}",
        details.inode,
        style::HEAD,
        plain(&details.family)
    )?;
    paper.text("  ", limit_in_words(details))?;
    for part in &row.drops.by_cause {
        let at = part.stage.as_deref().map(|stage| format!(" at {stage}")).unwrap_or_default();
        paper.text("  ", &plain(&format!("{} dropped: {}{at}", format::count(part.count), part.cause)))?;
    }
    for owner in details.owners.iter().flatten() {
        paper.text("  ", &owner_in_words(owner))?;
    }
    for unknown in &details.unknown {
        paper.text("  ", &plain(&format!("unknown: {}: {}", unknown.what, unknown.detail)))?;
    }
    Ok(())
}

/// What would make its queue longer.
fn limit_in_words(details: &Details) -> &'static str {
    match details.limit.limited_by.as_str() {
        "listen_argument" => {
            "Its limit is what the program asks for with listen(): raise it there, and somaxconn if it is lower then."
        }
        "somaxconn" => {
            "Its limit is net.core.somaxconn, which is no more than the program asks for: raise it and restart the program."
        }
        "earlier_somaxconn" => {
            "Its limit is what net.core.somaxconn was when it began to listen: the sysctl was raised since; restart the program."
        }
        "listen_call" => {
            "Its limit was set before netqueue looked, by listen()'s argument or by a somaxconn that was lower: restart the program to find out."
        }
        _ => "What limits it is not known.",
    }
}

fn owner_in_words(owner: &Owner) -> String {
    let mut words = format!("{} (pid {})", owner.comm, owner.pid);
    for (what, value) in [
        ("", &owner.executable),
        ("unit ", &owner.unit),
        ("container ", &owner.container),
        ("pod ", &owner.pod),
        ("cgroup ", &owner.cgroup),
    ] {
        if let Some(value) = value {
            words += &format!(", {what}{value}");
        }
    }
    plain(&words)
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
            "traffic": {"accept_wait_seconds": {"count": 9, "p50": 0.0004, "p99": 1.25}},
            "listener": {
                "inode": 900, "family": "ipv4", "closed": null,
                "limit": {"backlog": 128, "limited_by": "listen_argument", "listen_argument": 128},
                "owners": [
                    {"pid": 812, "comm": comm, "executable": "/usr/sbin/nginx", "unit": "nginx.service", "ended": false},
                    {"pid": 813, "comm": comm, "ended": false},
                ],
                "unknown": [{"what": "cookie", "why": "no_sock_diag", "detail": "sock_diag is not to be had"}],
            },
        }))
        .expect("a row")
    }

    fn written(rows: &[&Listener], width: usize) -> String {
        let mut out = Vec::new();
        table(rows).write(&mut anstream::StripStream::new(&mut out), Some(width)).expect("memory");
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
        assert_eq!(limited_by(row.listener.as_ref()), "listen(128)");
        assert_eq!(wait(&row), "400us/1.2s");
        assert_eq!((owner(&row).as_str(), place(&row).as_str()), ("nginx 812 +1", "nginx.service"));
        assert_eq!(mostly(&row), "accept_queue_full");
        let text = written(&[&row], 80);
        assert!(text.contains("▰▰▰▱▱▱▱▱ 33/128") && text.contains("nginx 812 +1"), "{text}");
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
    fn an_unknown_owner_says_why() {
        let mut row = row(80, "", 0, 0);
        if let Some(details) = &mut row.listener {
            details.owners = None;
            details.unknown = vec![
                serde_json::from_value(json!({
                    "what": "owners", "why": "missing_capability",
                    "detail": "missing CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
                }))
                .expect("it is one"),
            ];
        }
        assert_eq!(owner(&row), "? (missing CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)");
    }

    #[test]
    fn a_daemon_that_knows_no_listeners_details_is_understood() {
        let mut old = row(80, "nginx", 1, 0);
        (old.listener, old.traffic) = (None, None);
        assert_eq!((limited_by(None), wait(&old), owner(&old)), ("?".into(), "-".into(), "?".into()));
    }
}
