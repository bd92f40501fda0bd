//! Prints the kernel counters that moved beside netqueue's own: why silence is no all-clear.

use std::io::Write as _;

use netqueue_api::{Beside, Diagnosis};

use super::{
    client_args::{Failure, Output},
    format, style,
    terminal::plain,
};

/// Maximum number of namespaces printed when none is asked for.
const MANY: usize = 6;

/// Prints what moved in the namespaces whose inode numbers are admitted, with a heading for each.
/// Returns whether there was anything.
pub(super) fn print(
    paper: &mut Output,
    diagnosis: &Diagnosis,
    admits: impl Fn(u32) -> bool,
) -> Result<bool, Failure> {
    let all: Vec<_> = diagnosis.beside.iter().filter(|one| admits(one.netns_inode)).collect();
    let mut namespaces: Vec<&[&Beside]> = all.chunk_by(|one, next| place(one) == place(next)).collect();
    // The host comes first, as the daemon has it; then the namespaces in which most moved.
    if namespaces.len() > MANY {
        namespaces[1..].sort_by_key(|moved| std::cmp::Reverse(moved.len()));
    }
    let window = format::span(diagnosis.window.seconds.round() as u64);
    for moved in namespaces.iter().take(MANY) {
        let Some(first) = moved.first() else { continue };
        let whose = match first.netns.as_str() {
            "host" => "the host's network namespace".to_owned(),
            name => format!("network namespace {}", plain(name)),
        };
        write!(paper.out, "{}", style::WARN)?;
        paper.text("", &format!("In {whose} in the last {window}, not netqueue's to attribute:"))?;
        write!(paper.out, "{:#}", style::WARN)?;
        for one in *moved {
            paper.item("  - ", "    ", &plain(&one.sentence))?;
        }
    }
    if let Some(more) = namespaces.len().checked_sub(MANY).filter(|more| *more > 0) {
        writeln!(paper.out, "And in {}: see --json.", format::plural(more as u64, "other namespace"))?;
    }
    Ok(!all.is_empty())
}

const fn place(one: &Beside) -> (u32, u32) {
    (one.netns_inode, one.netns_generation)
}
