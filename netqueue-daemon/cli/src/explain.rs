//! `netqueue explain`: verdicts with advice, and a description of one listener, in words.

use netqueue_api::{Diagnosis, Listener, Listeners, Status};
use std::{io::Write as _, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{
    client_args::{ClientArgs, Failure, Output, run},
    exit::Exit,
    format,
    narrative::{Paragraph, Tone, narrate},
    scope::{self, NoVerdict},
    selector::Selector,
    style,
    table::{Column, Table},
    terminal::plain,
    verdicts,
};
use crate::client::Query;

/// The arguments of `netqueue explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A port (80), address and port (0.0.0.0:80), ID (id:7), process (nginx, pid:812) or unit
    /// (nginx.service); every verdict if omitted
    listener: Option<Selector>,
    #[command(flatten)]
    asking: ClientArgs,
}

/// Maximum number of listeners to explain; more appear as a table.
const MANY: usize = 6;

/// Prints the explanation.
///
/// Exit code 1 means that there is no such listener, or that netqueue sees nothing.
///
/// # Errors
/// Fails if the daemon gives no usable answer or the explanation cannot be printed.
pub fn command(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    run(async move {
        let client = args.asking.client()?;
        let diagnosis = client.get::<Diagnosis>(&Query::new("/api/v1/diagnosis")).await?;
        let mut paper = args.asking.paper();
        let scope = diagnosis.envelope.data.scope.as_ref();
        let blind = scope::blindness(scope).is_some();
        let Some(selector) = &args.listener else {
            if args.asking.json {
                paper.json(&diagnosis.raw)?;
            } else {
                everything(&mut paper, &diagnosis.envelope.data)?;
                paper.warnings(&diagnosis.envelope.warnings)?;
            }
            return Ok(if blind { Exit::BadNews } else { Exit::Good });
        };
        let status = client.get::<Status>(&Query::new("/api/v1/status")).await?;
        let answer = client.get::<Listeners>(&Query::new("/api/v1/listeners")).await?;
        let verdicts: Vec<_> = (diagnosis.envelope.data.verdicts.iter())
            .filter(|verdict| selector.admits_subject(&verdict.subject))
            .collect();
        let spoken_of = |listener: &Listener| {
            verdicts.iter().any(|verdict| verdict.subject.listener.as_ref() == Some(&listener.id))
        };
        let meant: Vec<_> = (answer.envelope.data.listeners.iter())
            .filter(|listener| selector.admits(listener) || spoken_of(listener))
            .collect();
        let watched = format::seconds_between(&status.envelope.data.attached, &status.envelope.data.taken);
        if args.asking.json {
            let explained = meant.iter().map(|listener| {
                let said = narrate(listener, watched);
                let said = said.into_iter().map(|paragraph| paragraph.text);
                json!({ "listener": listener.id, "said": said.collect::<Vec<_>>() })
            });
            let of_these = |verdict: &&Value| {
                let id = verdict["subject"]["listener"].as_str();
                id.is_some_and(|id| {
                    verdicts.iter().any(|verdict| verdict.subject.listener.as_deref() == Some(id))
                })
            };
            let all = diagnosis.raw["data"]["verdicts"].as_array();
            let told: Vec<_> = all.into_iter().flatten().filter(of_these).collect();
            let mut whole = answer.raw.clone();
            whole["data"] = json!({ "explained": explained.collect::<Vec<_>>(), "verdicts": told });
            paper.json(&whole)?;
        } else {
            if let Some(blindness) = scope::blindness(scope) {
                paper.text("", &blindness)?;
                writeln!(paper.out)?;
            }
            if !verdicts.is_empty() {
                verdicts::print(&mut paper, &verdicts)?;
                writeln!(paper.out)?;
            }
            print(&mut paper, selector, &meant, watched)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(if meant.is_empty() || blind { Exit::BadNews } else { Exit::Good })
    })
}

/// Prints every verdict, or what it is worth that there is none.
fn everything(paper: &mut Output, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let verdicts: Vec<_> = diagnosis.verdicts.iter().collect();
    let blindness = scope::blindness(diagnosis.scope.as_ref());
    if !verdicts.is_empty() {
        if let Some(blindness) = blindness {
            paper.text("", &blindness)?;
            writeln!(paper.out)?;
        }
        return verdicts::print(paper, &verdicts);
    }
    let NoVerdict { good, headline, scope } = scope::no_verdict(diagnosis.scope.as_ref());
    let colour = if good { style::GOOD } else { style::WARN };
    write!(paper.out, "{colour}")?;
    paper.text("", &headline)?;
    write!(paper.out, "{colour:#}")?;
    scope.iter().try_for_each(|sentence| paper.text("", sentence))?;
    Ok(())
}

fn print(
    paper: &mut Output,
    selector: &Selector,
    meant: &[&Listener],
    watched: Option<u64>,
) -> Result<(), Failure> {
    if meant.is_empty() {
        let text = format!(
            "netqueue knows nothing of {}: nothing there was dropped or reset while it watched. `netqueue listeners` \
             shows what it knows.",
            plain(&selector.to_string())
        );
        paper.text("", &text)?;
        return Ok(());
    }
    if meant.len() > MANY {
        return choose(paper, selector, meant);
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

fn choose(paper: &mut Output, selector: &Selector, meant: &[&Listener]) -> Result<(), Failure> {
    writeln!(
        paper.out,
        "{} has {} accounts: choose one by its id",
        plain(&selector.to_string()),
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
