//! `netqueue listeners`: every account with its queues, what it was charged, and whose it is.

use std::{cmp::Reverse, io::Write as _, process::ExitCode};

use clap::{Args, ValueEnum};

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
    model::{Listener, Listeners, Total},
};

/// The arguments of `netqueue listeners`.
#[derive(Clone, Debug, Args)]
pub struct ListenersArgs {
    /// Only this: a port (80), address and port (0.0.0.0:80), id (id:7) or process (nginx)
    listener: Option<Selector>,
    /// In this network namespace: `host` or its inode number
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
    /// listener, endpoint, ephemeral or other
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those that dropped or reset something
    #[arg(short, long)]
    trouble: bool,
    /// The order
    #[arg(short, long, value_enum, value_name = "BY", default_value_t)]
    sort: Order,
    #[command(flatten)]
    asking: Asking,
}

/// The order of the table.
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

/// Prints them. Exit code 1 says that there is none that fits.
///
/// # Errors
/// They cannot be printed.
pub fn command(args: ListenersArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let query = Query::new("/api/v1/listeners")
            .with("netns", args.netns.as_ref())
            .with("kind", args.kind.as_ref());
        let mut answer = args.asking.client().get::<Listeners>(&query).await?;
        let fits = |one: &Listener| {
            args.listener.as_ref().is_none_or(|wanted| wanted.admits(one))
                && (!args.trouble || one.drops.total > 0 || one.resets.total > 0)
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
            print(&mut paper, &rows)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(if rows.is_empty() { Exit::BadNews } else { Exit::Good })
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

fn print(paper: &mut Paper, rows: &[&Listener]) -> Result<(), Failure> {
    if rows.is_empty() {
        writeln!(paper.out, "none that fits")?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::text("LISTENER").at_least(15),
        Column::text("PROCESS").at_least(7),
        Column::number("ACCEPT"),
        Column::number("DROPPED"),
        Column::number("RESETS"),
        Column::text("ID"),
        Column::number("SYN").optional(),
        Column::text("MOSTLY BECAUSE").at_least(14).optional(),
        Column::text("LIMITED BY").at_least(8).optional(),
        Column::text("NETNS").at_least(6).optional(),
    ]);
    for row in rows {
        let full = row.accept_queue.is_some_and(|queue| queue.length > queue.limit);
        let mark = |number: u64, style| {
            if number == 0 { Cell::from("-") } else { Cell::styled(format::count(number), style) }
        };
        let limit = row.listener.as_ref().map(|socket| plain(&socket.limit.limited_by));
        table.push([
            Cell::styled(format::place(row.addr, row.port), style::HEAD),
            whose(row).into(),
            Cell::styled(
                format::queue(row.accept_queue),
                if full { style::BAD } else { anstyle::Style::new() },
            ),
            mark(row.drops.total, style::BAD),
            mark(row.resets.total, style::WARN),
            format!("id:{}", plain(&row.id)).into(),
            format::queue(row.syn_queue).into(),
            why(row).into(),
            limit.unwrap_or_default().into(),
            plain(&row.netns).into(),
        ]);
    }
    table.write(&mut paper.out, paper.width)?;
    Ok(())
}

/// The process, or what the account stands for.
fn whose(row: &Listener) -> String {
    match (row.process.as_str(), row.kind.as_str()) {
        ("", "endpoint") => "(not a listener's)".to_owned(),
        ("", "ephemeral") => "(client ports)".to_owned(),
        ("", "other") => "(did not fit)".to_owned(),
        (name, _) => plain(name),
    }
}

/// The cause that counts most, drops before resets.
fn why(row: &Listener) -> String {
    let most = |total: &Total| total.by_cause.iter().max_by_key(|part| part.count).cloned();
    let part = most(&row.drops).or_else(|| most(&row.resets));
    part.map_or_else(String::new, |part| {
        let stage = part.stage.map(|stage| format!("/{}", plain(&stage))).unwrap_or_default();
        format!("{}{stage}", plain(&part.cause))
    })
}
