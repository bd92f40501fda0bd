//! `netqueue status`: which probes are attached, and whether netqueue's sums equal the kernel's.

use netqueue_api::{Envelope, Status};
use std::{io::Write as _, process::ExitCode};

use clap::Args;

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    exit::Exit,
    format, style,
    table::{Cell, Column, Table},
    terminal::plain,
};
use crate::client::Query;

/// The arguments of `netqueue status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Shows every counter, also those that are exact
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    asking: ClientArgs,
}

/// Prints the status. Exit code 1 means not ready, not exact, or unable to see the host.
///
/// # Errors
/// Fails if the daemon gives no usable answer or the status cannot be printed.
pub fn command(args: StatusArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let answer = args.asking.client()?.get::<Status>(&Query::new("/api/v1/status")).await?;
        let mut paper = args.asking.paper();
        if args.asking.json {
            paper.json(&answer.raw)?;
        } else {
            print(&mut paper, &args, &answer.envelope)?;
        }
        let status = &answer.envelope.data;
        let sees = status.is_ready() && status.obstacles.is_empty();
        Ok(if sees && status.is_exact() { Exit::Good } else { Exit::BadNews })
    })
}

fn print(paper: &mut Output, args: &StatusArgs, answer: &Envelope<Status>) -> Result<(), Failure> {
    let status = &answer.data;
    let since = format::seconds_between(&status.attached, &status.taken).map(format::span);
    writeln!(
        paper.out,
        "{4}netqueue {0}{4:#} at {1}, attached for {2} (since {3} UTC)",
        plain(&status.version),
        args.asking.daemon.server,
        since.as_deref().unwrap_or("?"),
        format::date_time(&status.attached),
        style::HEAD,
    )?;
    probes(paper, status)?;
    events(paper, answer)?;
    slots(paper, status)?;
    exactness(paper, args, status)?;
    paper.warnings(&answer.warnings)?;
    Ok(())
}

/// Prints a line with its assessment in words and in colour.
fn line(paper: &mut Output, subject: &str, good: bool, text: &str) -> std::io::Result<()> {
    let (word, colour) = if good { ("ok", style::GOOD) } else { ("LOOK", style::BAD) };
    writeln!(paper.out, "  {subject:<9} {colour}{word:<4}{colour:#}  {text}")
}

fn probes(paper: &mut Output, status: &Status) -> std::io::Result<()> {
    let all = status.probes.len();
    let attached = status.probes.iter().filter(|probe| probe.attached).count();
    let missed: u64 = status.probes.iter().filter_map(|probe| probe.missed).sum();
    let text = format!(
        "{attached} of {all} programs attached ({}), {} skipped by the kernel",
        plain(&status.mode),
        format::plural(missed, "run")
    );
    let sees = status.is_ready() && status.obstacles.is_empty();
    line(paper, "Probes", sees && attached == all && missed == 0, &text)?;
    for caveat in &status.caveats {
        writeln!(paper.out, "                  {}", plain(caveat))?;
    }
    Ok(())
}

fn events(paper: &mut Output, answer: &Envelope<Status>) -> std::io::Result<()> {
    let (flow, coverage) = (&answer.data.events, &answer.coverage);
    let text = format!(
        "{} seen, {} lost, {} held since {} UTC",
        format::count(flow.seen),
        format::count(answer.data.lost()),
        format::count(coverage.events_held),
        format::date_time(&coverage.since),
    );
    line(paper, "Events", answer.data.lost() == 0, &text)?;
    for (reason, lost) in flow.lost.iter().filter(|(_, lost)| **lost > 0) {
        writeln!(paper.out, "                  {} lost: {}", format::count(*lost), plain(reason))?;
    }
    Ok(())
}

/// Prints whether every listener that dropped packets has counters of its own.
fn slots(paper: &mut Output, status: &Status) -> std::io::Result<()> {
    let Some(slots) = status.slots.get("listeners") else { return Ok(()) };
    let (used, capacity, folded) = (slots.used, slots.capacity, status.events.folded);
    let room = format!("{} of {} slots in use", format::count(used), format::count(capacity));
    let text = match folded {
        0 => format!("{room}, every drop and reset is charged to a listener or port"),
        _ => format!("{room}, {} counted under port=\"other\"", drops_and_resets(folded)),
    };
    line(paper, "Listeners", folded == 0, &text)
}

fn drops_and_resets(number: u64) -> String {
    if number == 1 {
        "1 drop or reset".to_owned()
    } else {
        format!("{} drops and resets", format::count(number))
    }
}

fn exactness(paper: &mut Output, args: &StatusArgs, status: &Status) -> std::io::Result<()> {
    let balances = &status.reconciliation;
    let off = balances.iter().filter(|balance| !balance.exact).count();
    let text = match (balances.len(), off) {
        (0, _) => "no namespace is compared with its kernel counters yet".to_owned(),
        (all, 0) => {
            let all = format::plural(all as u64, "namespace");
            format!("every residual is 0 in {all}: netqueue's counts are the kernel's")
        }
        (all, off) => format!("counts and kernel counters differ in {off} of {all} namespaces"),
    };
    line(paper, "Exactness", off == 0 && !balances.is_empty(), &text)?;
    let mut table = Table::new([
        Column::text("NETNS").at_least(6),
        Column::text("COUNTER"),
        Column::number("KERNEL").optional(),
        Column::number("SINCE ATTACH"),
        Column::number("ATTRIBUTED"),
        Column::number("RESIDUAL"),
    ]);
    for balance in balances {
        for (counter, row) in balance.counters.iter().filter(|(_, row)| args.verbose || row.residual != 0) {
            let colour = if row.residual == 0 { style::GOOD } else { style::BAD };
            table.push([
                plain(&balance.netns).into(),
                plain(counter).into(),
                format::count(row.kernel).into(),
                format::signed(row.since_attach).into(),
                format::signed(row.attributed).into(),
                Cell::styled(format::signed(row.residual), colour),
            ]);
        }
    }
    if table.is_empty() { Ok(()) } else { table.write(&mut paper.out, paper.width) }
}
