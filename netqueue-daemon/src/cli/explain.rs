//! `netqueue explain`: what is known about one listener, in words.

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    ask::{Asking, Failure, Paper, run},
    exit::Exit,
    format,
    narrative::{Paragraph, Tone, narrate},
    selector::Selector,
    style,
    table::{Column, Table},
    terminal::plain,
};
use crate::client::{
    Query,
    model::{Listener, Listeners, Status},
};

/// The arguments of `netqueue explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A port (80), address and port (0.0.0.0:80), id (id:7) or process (nginx)
    listener: Selector,
    #[command(flatten)]
    asking: Asking,
}

/// More than this is a list, not an explanation.
const MANY: usize = 6;

/// Prints it. Exit code 1 says that there is no such listener.
///
/// # Errors
/// It cannot be printed.
pub fn command(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let client = args.asking.client();
        let status = client.get::<Status>(&Query::new("/api/v1/status")).await?;
        let answer = client.get::<Listeners>(&Query::new("/api/v1/listeners")).await?;
        let meant: Vec<_> =
            answer.envelope.data.listeners.iter().filter(|listener| args.listener.admits(listener)).collect();
        let watched = format::seconds_between(&status.envelope.data.attached, &status.envelope.data.taken);
        let mut paper = args.asking.paper();
        if args.asking.json {
            let explained = meant.iter().map(|listener| {
                let said = narrate(listener, watched);
                let said = said.into_iter().map(|paragraph| paragraph.text);
                json!({ "listener": listener.id, "said": said.collect::<Vec<_>>() })
            });
            let mut whole = answer.raw.clone();
            whole["data"] = json!({ "explained": explained.collect::<Vec<_>>() });
            paper.json(&whole)?;
        } else {
            print(&mut paper, &args, &meant, watched)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(if meant.is_empty() { Exit::BadNews } else { Exit::Good })
    })
}

fn print(
    paper: &mut Paper,
    args: &ExplainArgs,
    meant: &[&Listener],
    watched: Option<u64>,
) -> Result<(), Failure> {
    if meant.is_empty() {
        let text = format!(
            "netqueue knows nothing of {}: nothing there was dropped or reset while it watched. `netqueue listeners` \
             shows what it knows.",
            plain(&args.listener.to_string())
        );
        paper.text("", &text)?;
        return Ok(());
    }
    if meant.len() > MANY {
        return choose(paper, args, meant);
    }
    for (index, listener) in meant.iter().enumerate() {
        if index > 0 {
            writeln!(paper.out)?;
        }
        let name = format::listener(listener);
        writeln!(paper.out, "{1}{name}{1:#}  {2}id:{0}{2:#}", plain(&listener.id), style::HEAD, style::DIM)?;
        for Paragraph { tone, text } in narrate(listener, watched) {
            let colour = match tone {
                Tone::Good => style::GOOD,
                Tone::Bad => style::BAD,
                Tone::Plain => anstyle::Style::new(),
            };
            write!(paper.out, "{colour}")?;
            paper.text("  ", &text)?;
            write!(paper.out, "{colour:#}")?;
        }
    }
    Ok(())
}

fn choose(paper: &mut Paper, args: &ExplainArgs, meant: &[&Listener]) -> Result<(), Failure> {
    writeln!(
        paper.out,
        "{} are {} accounts: choose one by its id",
        plain(&args.listener.to_string()),
        meant.len()
    )?;
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("LISTENER").at_least(15),
        Column::number("DROPS"),
        Column::number("RESETS"),
    ]);
    for listener in meant {
        table.push([
            format!("id:{}", plain(&listener.id)).into(),
            format::listener(listener).into(),
            format::count(listener.drops.total).into(),
            format::count(listener.resets.total).into(),
        ]);
    }
    table.write(&mut paper.out, paper.width)?;
    Ok(())
}
