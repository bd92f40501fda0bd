//! The glossary as the page fetches it.

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

/// Every cause with its words, as JSON.
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
    // Text and nothing else: it cannot fail, and a page without words still shows the causes' names.
    serde_json::to_string(&words).unwrap_or_else(|_| "[]".to_owned())
}
