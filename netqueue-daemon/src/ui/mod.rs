//! Web page at `/`: files in this binary, with a content security policy that admits nothing else.
//!
//! All its data come from the API.

mod assets;
mod words;

use std::sync::Arc;

use assets::Asset;
use axum::{
    Router,
    body::Bytes,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
    routing::get,
};

/// Content security policy: everything from this server, nothing inline, no frame around it, no forms.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Routes of the page and its files; the page links to the metrics at `telemetry_path`.
pub fn router(telemetry_path: &str) -> Router {
    assets::all(telemetry_path).into_iter().fold(Router::new(), |router, asset| {
        let (path, asset) = (asset.path, Arc::new(asset));
        router.route(path, get(async move |headers: HeaderMap| answer(&asset, &headers)))
    })
}

fn answer(asset: &Asset, asked: &HeaderMap) -> Response {
    let headers = [
        (CONTENT_TYPE, asset.media),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        // Revalidated at each use, so that an upgrade shows at once; sent again only after one.
        (CACHE_CONTROL, "no-cache"),
    ];
    let known = asked.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.tag));
    let (code, body) =
        if known { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (StatusCode::OK, asset.body.clone()) };
    let mut response = (code, headers, body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, tag: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        router("/telemetry")
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await
            .expect("an answer")
    }

    async fn text(path: &str) -> String {
        let body = ask(path, None).await.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn nothing_inline_and_nothing_from_elsewhere() {
        for asset in assets::all("/metrics") {
            let response = ask(asset.path, None).await;
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
            assert!(!POLICY.contains("unsafe") && !POLICY.contains("http"));
            let text = String::from_utf8(asset.body.to_vec()).expect("text");
            assert!(!text.contains("@import") && !text.contains("url(http"), "{}", asset.path);
        }
        let page = text("/").await;
        for inline in ["style=", "onclick=", "<style", "javascript:", "http://", "https://", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[tokio::test]
    async fn the_page_finds_everything_it_is_made_of() {
        let page = text("/").await;
        let named = page.split(['"']).filter(|word| word.starts_with("ui/"));
        let mut files: Vec<String> = named.map(|path| format!("/{path}")).collect();
        assert!(files.len() > 5);
        let mut seen = 0;
        while let Some(file) = files.get(seen).cloned() {
            seen += 1;
            assert_eq!(ask(&file, None).await.status(), StatusCode::OK, "{file}");
            // Imports of a script, in the same directory.
            if file.ends_with(".js") && !file.ends_with("uplot.js") {
                let script = text(&file).await;
                let imports = script.lines().filter(|line| line.starts_with("import "));
                let names = imports.filter_map(|line| line.split("\"./").nth(1)?.split('"').next());
                let new: Vec<_> = names.map(|name| format!("/ui/{name}")).collect();
                new.into_iter().for_each(|name| {
                    if !files.contains(&name) {
                        files.push(name)
                    }
                });
            }
        }
        let served = assets::all("/metrics").len();
        assert_eq!(
            files.len() + 2,
            served,
            "the page itself and the glossary, and nothing that nobody needs: {files:?}"
        );
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let first = ask("/ui/main.js", None).await;
        let tag = first.headers()[ETAG].to_str().expect("text").to_owned();
        let again = ask("/ui/main.js", Some(&format!("\"old\", {tag}"))).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("/ui/base.css", Some(&tag)).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn the_page_links_to_the_metrics_wherever_they_are() {
        assert!(text("/").await.contains("href=\"telemetry\""));
    }

    #[tokio::test]
    async fn every_cause_has_words_and_a_look() {
        let words: serde_json::Value = serde_json::from_str(&text("/ui/words.json").await).expect("JSON");
        let looks = text("/ui/words.js").await;
        for entry in netqueue_domain::glossary::entries() {
            let (kind, cause) = (entry.what.kind(), entry.what.cause());
            let name = entry
                .what
                .stage()
                .map_or(format!("{kind} {cause}"), |stage| format!("{kind} {cause} {stage}"));
            assert!(looks.contains(&format!("\"{name}\": [")), "{name} has no colour and pattern");
            let found = words.as_array().expect("a list").iter().any(|word| {
                word["cause"] == cause && word["kind"] == kind && word["stage"].as_str() == entry.what.stage()
            });
            assert!(found, "{name}");
        }
    }
}
