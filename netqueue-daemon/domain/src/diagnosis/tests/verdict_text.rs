//! Text of a rule and its verdicts, as reviewers read it in the snapshots.

use std::fmt::Write as _;

use super::super::{Evidence, Knob, Rule};

/// Evidence of one rule, with a name for each case.
pub(super) type Cases = Vec<(String, Evidence)>;

/// Formats everything that a reader sees of a rule: once what never changes, then each case.
pub(super) fn text(rule: &Rule, cases: Cases) -> String {
    let mut text = format!("TITLE {}\n", rule.title);
    for (name, lines) in [("ADVICE", rule.advice), ("CHECK NEXT", rule.check_next)] {
        lines.iter().for_each(|line| write_line(&mut text, name, line));
    }
    for (name, evidence) in cases {
        let verdict = rule.apply(&evidence).unwrap_or_else(|| panic!("{}: {name}: no verdict", rule.id));
        write!(text, "\n--- {name}\n").expect("a string takes everything");
        write_line(&mut text, "SUMMARY", &verdict.summary);
        write_line(&mut text, "CLIENTS SEE", &verdict.clients_see);
        let own = verdict.advice.len() - rule.advice.len();
        verdict.advice[..own].iter().for_each(|line| write_line(&mut text, "ADVICE", line));
        for Knob { name, set_by, current, proposed } in &verdict.knobs {
            let current = current.as_ref().map_or(String::new(), |current| format!(" from {current}"));
            write_line(&mut text, "SET", &format!("{name}{current} to {proposed}: {set_by}"));
        }
        if !verdict.missing.is_empty() {
            write_line(&mut text, "NOT KNOWN", &verdict.missing.join("; "));
        }
    }
    text
}

fn write_line(text: &mut String, name: &str, line: &str) {
    writeln!(text, "{name} {line}").expect("a string takes everything");
}
