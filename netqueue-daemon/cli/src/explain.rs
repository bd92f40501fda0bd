//! `netqueue explain`: verdicts with advice, and a description of one listener, in words.

use netqueue_api::{Diagnosis, Impact, Listeners, Status, Verdict};
use std::{collections::HashSet, io::Write as _, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{
    beside,
    client_args::{ClientArgs, Failure, Output, run},
    culprits::{self, Story},
    exit::Exit,
    format,
    narrative::{Paragraph, Tone, narrate},
    scope::{self, NoVerdict},
    selector::Selector,
    style,
    terminal::plain,
    verdicts,
};
use crate::client::Query;

/// The end of the help: examples, and the words for impact and confidence.
pub const HELP: &str = "\
Examples:
  netqueue explain            what is the matter on this host
  netqueue explain 8080       the listeners at one port
  netqueue explain nginx --server http://10.0.0.7:10124

Impact on clients, the worst first:
  never served  they hang or time out
  reset         they see \"connection reset by peer\" or \"connection refused\"
  delayed       they are served a second or more too late
  unseen        netqueue may not see everything
  absorbed      no client noticed
What is over stands below what goes on.

Confidence: how far the evidence decides the verdict. It is lower where numbers were not measured, and early on.";

/// The arguments of `netqueue explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A port (80), address and port (0.0.0.0:80; also the one that clients connect to), ID (id:7), process
    /// (nginx, pid:812), unit (nginx.service), container (container:ID), pod (pod:UID) or network namespace
    /// (netns:NAME); every verdict if omitted
    listener: Option<Selector>,
    #[command(flatten)]
    asking: ClientArgs,
}

/// Maximum number of stories to explain in full; of more, only the worst.
const MANY: usize = 6;
/// Maximum number of verdicts printed in full about more stories than that.
const VERDICTS: usize = 3;

/// Prints the explanation.
///
/// Exit code 1 means that clients are harmed, that netqueue may not see everything, or that there is no such
/// listener.
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
            return Ok(exit(blind, diagnosis.envelope.data.verdicts.iter()));
        };
        let status = client.get::<Status>(&Query::new("/api/v1/status")).await?;
        let answer = client.get::<Listeners>(&Query::new("/api/v1/listeners")).await?;
        let all = &answer.envelope.data.listeners;
        let admitted: HashSet<_> = all.iter().filter(|one| selector.admits(one)).map(|one| &one.id).collect();
        let verdicts: Vec<_> = (diagnosis.envelope.data.verdicts.iter())
            .filter(|verdict| {
                selector.admits_subject(&verdict.subject)
                    || verdict.subject.listener.as_ref().is_some_and(|id| admitted.contains(id))
            })
            .collect();
        let spoken_of: HashSet<_> =
            verdicts.iter().filter_map(|verdict| verdict.subject.listener.as_ref()).collect();
        let meant: Vec<_> =
            all.iter().filter(|one| admitted.contains(&one.id) || spoken_of.contains(&one.id)).collect();
        let watched = format::seconds_between(&status.envelope.data.attached, &status.envelope.data.taken);
        let inodes: HashSet<_> = meant.iter().map(|listener| listener.netns_inode).collect();
        if args.asking.json {
            let explained = meant.iter().map(|listener| {
                let said = narrate(listener, watched);
                let said = said.into_iter().map(|paragraph| paragraph.text);
                json!({ "listener": listener.id, "said": said.collect::<Vec<_>>() })
            });
            let of_these = |verdict: &&Value| {
                let id = verdict["subject"]["listener"].as_str();
                id.is_some_and(|id| spoken_of.iter().any(|spoken| *spoken == id))
            };
            let list = |name: &str| diagnosis.raw["data"][name].as_array().into_iter().flatten();
            let told: Vec<_> = list("verdicts").filter(of_these).collect();
            let moved = |one: &&Value| inodes.iter().any(|inode| one["netns_inode"] == *inode);
            let beside: Vec<_> = list("beside").filter(moved).collect();
            let mut whole = answer.raw.clone();
            whole["data"] =
                json!({ "explained": explained.collect::<Vec<_>>(), "verdicts": told, "beside": beside });
            paper.json(&whole)?;
        } else {
            if let Some(blindness) = scope::blindness(scope) {
                paper.text("", &blindness)?;
                writeln!(paper.out)?;
            }
            let stories = culprits::stories(&meant, &verdicts);
            print_verdicts(&mut paper, selector, &stories, &verdicts)?;
            if beside::print(&mut paper, &diagnosis.envelope.data, |inode| inodes.contains(&inode))? {
                writeln!(paper.out)?;
            }
            print(&mut paper, selector, &stories, watched)?;
            paper.warnings(&answer.envelope.warnings)?;
        }
        Ok(if meant.is_empty() { Exit::BadNews } else { exit(blind, verdicts.into_iter()) })
    })
}

/// Returns the exit code for these verdicts: bad news if clients are harmed, or if netqueue may not
/// see everything.
fn exit<'a>(blind: bool, mut verdicts: impl Iterator<Item = &'a Verdict>) -> Exit {
    let is_bad = |verdict: &Verdict| match verdict.impact {
        Impact::NeverServed | Impact::Reset | Impact::Delayed | Impact::Unseen | Impact::Unknown(_) => true,
        Impact::Absorbed => false,
    };
    if blind || verdicts.any(is_bad) { Exit::BadNews } else { Exit::Good }
}

/// Prints every verdict, or what it is worth that there is none, and what moved beside.
fn everything(paper: &mut Output, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let verdicts: Vec<_> = diagnosis.verdicts.iter().collect();
    if !verdicts.is_empty() {
        if let Some(blindness) = scope::blindness(diagnosis.scope.as_ref()) {
            paper.text("", &blindness)?;
            writeln!(paper.out)?;
        }
        verdicts::print(paper, &verdicts)?;
        if !diagnosis.beside.is_empty() {
            writeln!(paper.out)?;
        }
        beside::print(paper, diagnosis, |_| true)?;
        return Ok(());
    }
    let moved = beside::print(paper, diagnosis, |_| true)?;
    let NoVerdict { good, headline, scope } = scope::no_verdict(diagnosis.scope.as_ref(), moved);
    let colour = if good { style::GOOD } else { style::WARN };
    write!(paper.out, "{colour}")?;
    paper.text("", &headline)?;
    write!(paper.out, "{colour:#}")?;
    scope.iter().try_for_each(|sentence| paper.text("", sentence))?;
    Ok(())
}

/// Prints the verdicts on the accounts: all of a few accounts; of many, the worst after a line that
/// names the culprit.
fn print_verdicts(
    paper: &mut Output,
    selector: &Selector,
    stories: &[Story<'_>],
    verdicts: &[&Verdict],
) -> Result<(), Failure> {
    let many = stories.len() > MANY;
    if many {
        paper.text("", &culprits::headline(&plain(&selector.to_string()), stories))?;
        writeln!(paper.out)?;
    }
    let shown = if many { &verdicts[..verdicts.len().min(VERDICTS)] } else { verdicts };
    verdicts::print(paper, shown)?;
    if shown.len() < verdicts.len() {
        let more = format::plural((verdicts.len() - shown.len()) as u64, "more verdict");
        writeln!(paper.out, "\nAnd {more}: name one account, for example by its id.")?;
    }
    if !shown.is_empty() {
        writeln!(paper.out)?;
    }
    Ok(())
}

fn print(
    paper: &mut Output,
    selector: &Selector,
    stories: &[Story<'_>],
    watched: Option<u64>,
) -> Result<(), Failure> {
    if stories.is_empty() {
        let text = format!(
            "netqueue knows nothing of {}: nothing there was dropped or reset while it watched. `netqueue listeners` \
             shows what it knows.",
            plain(&selector.to_string())
        );
        paper.text("", &text)?;
        return Ok(());
    }
    let many = stories.len() > MANY;
    let told = if many { usize::from(stories[0].is_troubled()) } else { stories.len() };
    for (index, story) in stories.iter().take(told).enumerate() {
        if index > 0 {
            writeln!(paper.out)?;
        }
        one(paper, story, watched)?;
    }
    if many {
        if told > 0 {
            writeln!(paper.out)?;
        }
        culprits::list(paper, stories)?;
    }
    Ok(())
}

/// Prints one story: its worst account in words, the other members of its SO_REUSEPORT group in a
/// table.
fn one(paper: &mut Output, story: &Story<'_>, watched: Option<u64>) -> Result<(), Failure> {
    let listener = story.members[0];
    let name = format::listener(listener);
    writeln!(paper.out, "{1}{name}{1:#}  {2}id:{0}{2:#}", plain(&listener.id), style::HEAD, style::DIM)?;
    culprits::members(paper, story)?;
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
    Ok(())
}
