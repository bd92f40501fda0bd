//! Output of `netqueue explain` on the recordings of the case corpus, where a case states it.
//!
//! An output that is marked right in its `case.toml` must stay right, and one that has become right must be
//! marked so.

mod replay;

use std::path::Path;

use replay::Replay;
use serde::Deserialize;

/// The part of a case that is about the output of `netqueue explain`.
#[derive(Debug, Deserialize)]
struct Case {
    #[serde(default)]
    explain: Vec<Explain>,
}

/// Expected output of `netqueue explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// `right`, or the mark that today's tree gets.
    state: String,
    /// Argument of `explain`; empty for none.
    #[serde(default)]
    of: String,
    /// Parts of the output; `a|b` means either.
    #[serde(default)]
    says: Vec<String>,
    /// Parts that must not be in the output.
    #[serde(default)]
    not: Vec<String>,
}

impl Explain {
    /// Lists what is not right about an output.
    fn flaws(&self, output: &str) -> Vec<String> {
        let output = output.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let has = |part: &str| part.split('|').any(|part| output.contains(&part.to_lowercase()));
        let missing = self.says.iter().filter(|part| !has(part)).map(|part| format!("does not say {part:?}"));
        let wrong = self.not.iter().filter(|part| has(part)).map(|part| format!("must not say {part:?}"));
        missing.chain(wrong).collect()
    }
}

#[test]
fn explain_says_of_each_case_what_it_must() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let (mut right, mut all, mut broken) = (0, 0, Vec::new());
    for folder in corpus.read_dir().expect("the corpus").flatten().map(|entry| entry.path()) {
        let text = std::fs::read_to_string(folder.join("case.toml")).expect("a case");
        let case: Case =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let recording = folder.join("recording.nqr");
        if case.explain.is_empty() || !recording.is_file() {
            continue;
        }
        let daemon = Replay::start(&recording, &["--speed", "max"], "end of recording");
        for wanted in &case.explain {
            let argument = Some(wanted.of.as_str()).filter(|of| !of.is_empty());
            let words: Vec<_> = ["explain"].into_iter().chain(argument).collect();
            let flaws = wanted.flaws(&daemon.netqueue(&words));
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            println!(
                "{name}, explain {}: {}",
                wanted.of,
                if flaws.is_empty() { "right" } else { "not right" }
            );
            all += 1;
            right += usize::from(flaws.is_empty());
            if flaws.is_empty() != (wanted.state == "right") {
                let state = &wanted.state;
                broken.push(format!("{name}: marked {state}: explain {} {}", wanted.of, flaws.join("; ")));
            }
        }
    }
    println!("{right} of {all} outputs of explain are right");
    assert!(broken.is_empty(), "the state of these outputs is another now:\n{}", broken.join("\n"));
}
