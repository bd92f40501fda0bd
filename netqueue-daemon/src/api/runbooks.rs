//! `/runbooks`: runbooks of verdicts and alerts, at the address to which they link.

use axum::{
    extract::Path,
    http::header::CONTENT_TYPE,
    response::{Html, IntoResponse},
};

use super::problem::Problem;
use crate::runbooks;

/// Serves the list of runbooks.
pub(super) async fn list() -> Html<String> {
    let items: String = runbooks::ALL
        .iter()
        .map(|(name, text)| {
            let title = text.lines().next().unwrap_or(name).trim_start_matches("# ");
            format!("<li><a href=\"/runbooks/{name}\">{title}</a></li>\n")
        })
        .collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>netqueue: runbooks</title>\n\
         <h1>Runbooks</h1>\n<ul>\n{items}</ul>\n</html>\n"
    ))
}

/// Serves one runbook as Markdown.
pub(super) async fn get(Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let text = runbooks::find(&name).ok_or_else(|| Problem::not_found(&format!("/runbooks/{name}")))?;
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], text))
}
