//! Outcomes of an experiment, and the error that means "impossible on this machine", not "wrong".

use std::fmt;

use serde::Serialize;

/// The outcome of one experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// netqueue agreed with the kernel and the experiment.
    Passed,
    /// netqueue disagreed, or the incident could not be provoked.
    Failed,
    /// This kernel or machine cannot run the experiment.
    Skipped,
    /// The incident happened and nothing was compared (`--no-daemon`).
    Provoked,
}

impl Outcome {
    /// The word in the report; capitals make failures stand out.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed => "FAIL",
            Self::Skipped => "skip",
            Self::Provoked => "provoked",
        }
    }
}

/// The reason why this kernel or machine cannot run an experiment.
#[derive(Debug)]
pub(super) struct Skip(pub String);

impl Skip {
    /// Creates the error that makes an experiment be skipped.
    pub(super) fn because(reason: impl Into<String>) -> anyhow::Error {
        Self(reason.into()).into()
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}
