//! Glossary as the page fetches it.

use serde::Serialize;

use netqueue_domain::glossary;

#[derive(Serialize)]
struct Word {
    kind: &'static str,
    cause: &'static str,
    stage: Option<&'static str>,
    title: &'static str,
    meaning: &'static str,
    look: &'static str,
}

/// Returns every cause with its explanation, as JSON.
pub(super) fn json() -> String {
    let words: Vec<_> = glossary::entries()
        .map(|entry| Word {
            kind: entry.what.kind(),
            cause: entry.what.cause(),
            stage: entry.what.stage(),
            title: entry.title,
            meaning: entry.meaning,
            look: entry.look,
        })
        .collect();
    // Plain strings cannot fail to serialise; without them the page still shows the names of the causes.
    serde_json::to_string(&words).unwrap_or_else(|_| "[]".to_owned())
}
