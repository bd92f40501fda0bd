//! Prints verdicts: cause, effect on clients, and advice; consequences, below their cause, in short.

use std::{io::Write as _, net::IpAddr};

use anstyle::Style;
use netqueue_api::{Impact, ListeningProcess, Subject, Verdict};

use super::{
    client_args::{Failure, Output},
    format, style,
    terminal::plain,
};

/// Prints verdicts in the given order.
pub(super) fn print(paper: &mut Output, verdicts: &[&Verdict]) -> Result<(), Failure> {
    for (index, verdict) in verdicts.iter().enumerate() {
        if index > 0 {
            writeln!(paper.out)?;
        }
        match verdicts[..index].iter().any(|earlier| earlier.explains(verdict)) {
            true => consequence(paper, verdict)?,
            false => one(paper, verdict)?,
        }
    }
    Ok(())
}

/// Prints what is to be known of a consequence beside its cause.
fn consequence(paper: &mut Output, verdict: &Verdict) -> Result<(), Failure> {
    let (colour, impact) = (colour(&verdict.impact), plain(&verdict.impact.as_str().replace('_', " ")));
    write!(paper.out, "{colour}")?;
    paper.text("  ", &format!("Consequence ({impact}): {}", plain(&verdict.title)))?;
    write!(paper.out, "{colour:#}")?;
    paper.text("  ", &plain(&verdict.summary))?;
    for advice in &verdict.advice {
        paper.item("  - ", "    ", &plain(advice))?;
    }
    paper.text("  ", &format!("Runbook: {}", plain(&verdict.runbook)))?;
    Ok(())
}

const fn colour(impact: &Impact) -> Style {
    match impact {
        Impact::NeverServed | Impact::Reset => style::BAD,
        Impact::Absorbed => style::GOOD,
        Impact::Delayed | Impact::Unseen | Impact::Unknown(_) => style::WARN,
    }
}

fn one(paper: &mut Output, verdict: &Verdict) -> Result<(), Failure> {
    let colour = colour(&verdict.impact);
    writeln!(
        paper.out,
        "{0}{1}{0:#}  {2}{3}{5}, {4} confidence{2:#}",
        style::HEAD,
        subject(&verdict.subject),
        style::DIM,
        plain(&verdict.impact.as_str().replace('_', " ")),
        plain(&verdict.confidence),
        if verdict.ongoing { "" } else { ", over" }
    )?;
    write!(paper.out, "{colour}")?;
    paper.text("  ", &plain(&verdict.title))?;
    write!(paper.out, "{colour:#}")?;
    paper.text("  ", &plain(&verdict.summary))?;
    paper.text("  ", &format!("Clients see: {}.", plain(&verdict.clients_see)))?;
    if let Some(because) = &verdict.because {
        paper.text("  ", &format!("Because: {}", plain(&because.summary)))?;
    }
    for knob in &verdict.knobs {
        paper.text("  ", &format!("Set {}.", format::knob(knob)))?;
    }
    for advice in &verdict.advice {
        paper.item("  - ", "    ", &plain(advice))?;
    }
    for check in &verdict.check_next {
        paper.item("  ? ", "    ", &plain(check))?;
    }
    if !verdict.missing.is_empty() {
        paper.text("  ", &format!("Not known: {}.", plain(&verdict.missing.join("; "))))?;
    }
    paper.text("  ", &format!("Runbook: {}", plain(&verdict.runbook)))?;
    Ok(())
}

fn subject(subject: &Subject) -> String {
    let at = match (subject.addr, subject.port) {
        (Some(IpAddr::V6(addr)), Some(port)) => format!("[{addr}]:{port}"),
        (Some(addr), Some(port)) => format!("{addr}:{port}"),
        (Some(addr), None) => addr.to_string(),
        (None, _) => plain(&subject.kind),
    };
    let netns = match subject.netns.as_deref() {
        None | Some("host") => String::new(),
        Some(netns) => format!(" in namespace {}", plain(netns)),
    };
    let process = subject.process.as_ref().map_or(String::new(), |ListeningProcess { name, pid, unit }| {
        let unit = unit.as_ref().map_or(String::new(), |unit| format!(", {}", plain(unit)));
        format!(" {} (pid {pid}{unit})", plain(name))
    });
    format!("{at}{netns}{process}")
}
