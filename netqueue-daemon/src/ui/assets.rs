//! Files of the web page. `vendor/` has uPlot 1.6.32 as released, MIT; see its licence beside it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::body::Bytes;

/// File as it is served.
#[derive(Clone, Debug)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) media: &'static str,
    pub(super) body: Bytes,
    /// Entity tag, which changes with the content.
    pub(super) tag: String,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Files that do not depend on the configuration.
const FILES: [(&str, &str, &str); 17] = [
    ("/ui/base.css", STYLE, include_str!("page/base.css")),
    ("/ui/parts.css", STYLE, include_str!("page/parts.css")),
    ("/ui/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/ui/theme.js", SCRIPT, include_str!("page/theme.js")),
    ("/ui/main.js", SCRIPT, include_str!("page/main.js")),
    ("/ui/data.js", SCRIPT, include_str!("page/data.js")),
    ("/ui/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/ui/format.js", SCRIPT, include_str!("page/format.js")),
    ("/ui/words.js", SCRIPT, include_str!("page/words.js")),
    ("/ui/charts.js", SCRIPT, include_str!("page/charts.js")),
    ("/ui/overview.js", SCRIPT, include_str!("page/overview.js")),
    ("/ui/listener.js", SCRIPT, include_str!("page/listener.js")),
    ("/ui/events.js", SCRIPT, include_str!("page/events.js")),
    ("/ui/beside.js", SCRIPT, include_str!("page/beside.js")),
    ("/ui/verdicts.js", SCRIPT, include_str!("page/verdicts.js")),
    ("/ui/trust.js", SCRIPT, include_str!("page/trust.js")),
    ("/ui/uplot.js", SCRIPT, include_str!("vendor/uplot-1.6.32.min.js")),
];

/// Returns every file, with the page linking to the metrics at `telemetry_path`.
pub(super) fn all(telemetry_path: &str) -> Vec<Asset> {
    // Relative, so that the page also works below a path of a proxy.
    let metrics = format!("href=\"{}\"", telemetry_path.trim_start_matches('/'));
    let page = include_str!("page/index.html").replace("href=\"metrics\"", &metrics);
    let made = [
        ("/", HTML, page),
        ("/ui/uplot.css", STYLE, include_str!("vendor/uplot-1.6.32.min.css").to_owned()),
        ("/ui/words.json", "application/json", super::words::json()),
    ];
    let fixed = FILES.map(|(path, media, text)| (path, media, text.to_owned()));
    made.into_iter().chain(fixed).map(|(path, media, text)| Asset::new(path, media, text)).collect()
}

impl Asset {
    fn new(path: &'static str, media: &'static str, text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self { path, media, tag: format!("\"{:016x}\"", hasher.finish()), body: text.into() }
    }
}
