//! Compares verdicts with the right answer.

use std::{fmt, time::Duration};

use netqueue_domain::{
    AccountKey, Timestamp,
    diagnosis::{Confidence, Impact, Subject, Verdict},
};
use serde::Deserialize;

use super::{Case, First, Replayed};

/// Time in which the first verdict may still change its kind.
const EARLY: Duration = Duration::from_secs(15);

/// Mark of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// Whoever is paged reads the truth first.
    Right,
    /// The first verdict is of the right kind, and something of it is not right.
    Half,
    /// The first verdict sends whoever is paged elsewhere.
    Wrong,
    /// Nothing is said.
    Silent,
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Right => "right",
            Self::Half => "half",
            Self::Wrong => "wrong",
            Self::Silent => "silent",
        })
    }
}

/// A mark with its reasons.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) mark: Mark,
    pub(crate) reasons: Vec<String>,
}

impl Judgement {
    fn of(mark: Mark, reason: String) -> Self {
        Self { mark, reasons: vec![reason] }
    }
}

/// Judges what netqueue says of a case.
pub(crate) fn judge(case: &Case, said: &Replayed) -> Judgement {
    let harmful = said.verdicts.iter().filter(|verdict| verdict.impact != Impact::Absorbed);
    let first = said.verdicts.first();
    match (&case.first, first) {
        (None, _) => match harmful.map(|verdict| verdict.rule).next() {
            Some(rule) => Judgement::of(Mark::Wrong, format!("says {rule} where nobody was harmed here")),
            None => with_forbidden(case, said, Judgement { mark: Mark::Right, reasons: Vec::new() }),
        },
        (Some(_), None) => Judgement::of(Mark::Silent, "says nothing".to_owned()),
        (Some(wanted), Some(first)) if !wanted.rules.iter().any(|rule| rule == first.rule) => {
            let wanted = wanted.rules.join(" or ");
            let summary = &first.summary;
            Judgement::of(Mark::Wrong, format!("{wanted} must come first, not {}: {summary}", first.rule))
        }
        (Some(wanted), Some(first)) => {
            let mut reasons = flaws(wanted, first);
            reasons.extend(unsteady(&said.firsts, wanted));
            let mark = if reasons.is_empty() { Mark::Right } else { Mark::Half };
            with_forbidden(case, said, Judgement { mark, reasons })
        }
    }
}

/// Lowers a mark to wrong if something is said that must not be.
fn with_forbidden(case: &Case, said: &Replayed, judgement: Judgement) -> Judgement {
    let mut reasons = Vec::new();
    for verdict in &said.verdicts {
        if case.not.rules.iter().any(|rule| rule == verdict.rule) {
            reasons.push(format!("must not say {}", verdict.rule));
        }
        let text = whole_text(verdict);
        let words = case.not.words.iter().filter(|word| text.contains(&word.to_lowercase()));
        reasons.extend(words.map(|word| format!("{} must not say {word:?}", verdict.rule)));
    }
    if reasons.is_empty() {
        return judgement;
    }
    reasons.extend(judgement.reasons);
    Judgement { mark: Mark::Wrong, reasons }
}

/// Everything that a verdict says, in lower case.
fn whole_text(verdict: &Verdict) -> String {
    let because = verdict.because.iter().map(|because| because.summary.as_str());
    let knobs = verdict.knobs.iter().map(|knob| knob.set_by.as_str());
    let parts = [verdict.title, &verdict.summary, &verdict.clients_see];
    let advice = verdict.advice.iter().map(String::as_str).chain(verdict.check_next.iter().copied());
    let all: Vec<_> = parts.into_iter().chain(because).chain(knobs).chain(advice).collect();
    all.join("\n").to_lowercase()
}

/// Lists what is not right about a first verdict of the right kind.
fn flaws(wanted: &First, first: &Verdict) -> Vec<String> {
    let mut flaws = Vec::new();
    if let Some(port) = wanted.port {
        let named = first.subject.account().and_then(AccountKey::port);
        if named != Some(port) {
            flaws.push(format!("speaks of {}, not of port {port}", subject(&first.subject)));
        }
    }
    if let Some(process) = &wanted.process {
        let named = first.owner.as_ref().map(|owner| owner.name.as_ref());
        if named != Some(process.as_str()) {
            flaws.push(format!("names {} as the process, not {process}", named.unwrap_or("nobody")));
        }
    }
    if !wanted.impact.split('|').any(|impact| impact == first.impact.as_str()) {
        flaws.push(format!("impact {}, not {}", first.impact.as_str(), wanted.impact));
    }
    let level = |word: &str| {
        let all = [Confidence::Low, Confidence::Medium, Confidence::High];
        all.into_iter()
            .find(|level| level.as_str() == word)
            .unwrap_or_else(|| panic!("no confidence is {word}"))
    };
    if first.confidence > level(&wanted.confidence) {
        let [said, most] = [first.confidence.as_str(), &wanted.confidence];
        flaws.push(format!("{said} confidence, {most} at most"));
    }
    if let Some(sentence) = wanted.sentence.as_ref().filter(|sentence| !fits(sentence, &first.summary)) {
        flaws.push(format!("must say {sentence:?}, not {:?}", first.summary));
    }
    let text = whole_text(first);
    let says =
        wanted.says.iter().filter(|part| !part.split('|').any(|part| text.contains(&part.to_lowercase())));
    flaws.extend(says.map(|part| format!("does not say {part:?}: {}", first.summary)));
    match wanted.knob.as_deref() {
        Some("none") if !first.knobs.is_empty() => {
            flaws.push(format!("{} does not help", first.knobs[0].name));
        }
        None | Some("none") => {}
        Some(knob) if first.knobs.iter().any(|said| said.name == knob) => {}
        Some(knob) => flaws.push(format!("does not name the setting {knob}")),
    }
    flaws
}

/// Returns the change of the first verdict's kind after its early time, if there was one.
/// A change among rules that are equally right is none.
fn unsteady(firsts: &[(Timestamp, &'static str)], wanted: &First) -> Option<String> {
    let begun = firsts.iter().find(|(_, rule)| !rule.is_empty())?.0;
    let kind = |rule: &'static str| {
        let right = wanted.rules.iter().any(|wanted| wanted == rule);
        if right { "what is right" } else { rule }
    };
    let settled = firsts.iter().rposition(|(at, _)| at.since(begun) <= EARLY)?;
    let settled_as = kind(firsts[settled].1);
    let (at, rule) = firsts[settled..].iter().find(|(_, rule)| kind(rule) != settled_as)?;
    let seconds = at.since(begun).as_secs();
    Some(format!("the first verdict changed from {settled_as} to {:?} after {seconds} s", kind(rule)))
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Account(_, key) => key.port().map_or("no port".to_owned(), |port| format!("port {port}")),
        Subject::Namespace(_) => "the namespace".to_owned(),
        Subject::Netqueue => "netqueue".to_owned(),
    }
}

/// Matches a text with a pattern in which `{n}` stands for a number and `{*}` for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let is_number = |text: &str| {
        !text.is_empty()
            && text.chars().all(|character| character.is_ascii_digit() || ".,".contains(character))
    };
    let (at, kind) = match (pattern.find("{n}"), pattern.find("{*}")) {
        (None, None) => return pattern == text,
        (Some(number), Some(any)) if any < number => (any, "{*}"),
        (None, Some(any)) => (any, "{*}"),
        (Some(number), _) => (number, "{n}"),
    };
    let (start, rest) = (&pattern[..at], &pattern[at + 3..]);
    let Some(text) = text.strip_prefix(start) else { return false };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.filter(|end| kind == "{*}" || is_number(&text[..*end])).any(|end| fits(rest, &text[end..]))
}

#[test]
fn a_pattern_fits_numbers_and_anything() {
    assert!(fits("{n} clients waited {*}.", "1,204 clients waited for 3.5 s."));
    assert!(!fits("{n} clients waited.", "many clients waited."));
    assert!(fits("all", "all") && !fits("all", "all of them"));
}
