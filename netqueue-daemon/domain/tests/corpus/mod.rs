//! Cases of the corpus: what must be said of a recording, and what netqueue says.

mod judge;
mod recording;

use std::{fs, path::Path};

use serde::Deserialize;

pub(crate) use judge::{Judgement, Mark, judge};
pub(crate) use recording::{Replayed, replay};

/// The right answer to a case, from its `case.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Name of the case's folder.
    #[serde(skip)]
    pub(crate) name: String,
    /// Kind of public report that the case stands for.
    pub(crate) report: String,
    /// Course of the incident.
    pub(crate) happens: String,
    /// False if netqueue cannot see the cause from where it stands, and has to say so.
    #[serde(default = "yes")]
    pub(crate) visible: bool,
    /// Mark that today's tree gets.
    pub(crate) state: Mark,
    /// Debian packages that the scenario needs, for `cargo xtask cases`.
    #[serde(default, rename = "packages")]
    _packages: Vec<String>,
    /// The first verdict; without it, nothing worse than `absorbed` may be said.
    pub(crate) first: Option<First>,
    #[serde(default)]
    pub(crate) not: Not,
    /// Outputs of `netqueue explain`, which the daemon's own test checks.
    #[serde(default, rename = "explain")]
    _explain: Vec<toml::Table>,
}

/// Expected first verdict.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    /// Rules, any of which is right.
    pub(crate) rules: Vec<String>,
    /// Local port of the subject.
    pub(crate) port: Option<u16>,
    /// Name of the subject's process.
    pub(crate) process: Option<String>,
    /// Worst impact on clients, as the API spells it.
    pub(crate) impact: String,
    /// Highest confidence that the evidence supports.
    pub(crate) confidence: String,
    /// The whole summary; `{n}` stands for a number, `{*}` for anything.
    pub(crate) sentence: Option<String>,
    /// Parts of what is said, whatever their place; `a|b` means either.
    #[serde(default)]
    pub(crate) says: Vec<String>,
    /// Name of the setting to change; `none` if no setting helps.
    pub(crate) knob: Option<String>,
}

/// Stories that must not be told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Not {
    /// Rules of verdicts that must not appear, wherever they rank.
    pub(crate) rules: Vec<String>,
    /// Words that must not appear in any verdict.
    pub(crate) words: Vec<String>,
}

const fn yes() -> bool {
    true
}

impl Case {
    /// Reads the case of a folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let file = folder.join("case.toml");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let case: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = folder.file_name().expect("a folder").to_string_lossy().into_owned();
        assert!(
            !case.report.is_empty() && !case.happens.is_empty(),
            "{name}: which report, and what happened?"
        );
        Self { name, ..case }
    }
}
