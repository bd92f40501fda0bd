//! Who may know whom inside the daemon.

use super::paths::{Mention, is_below, mentions};
use super::tree::{Text, Tree};

const SOURCES: &str = "netqueue-daemon/src/";

/// What the domain may not touch: other layers, I/O, clocks, runtimes.
const IMPURE: [&str; 18] = [
    "aya",
    "tokio",
    "axum",
    "hyper",
    "prometheus",
    "std::fs",
    "std::net::TcpStream",
    "netqueue_common",
    "crate::kernel",
    "crate::inventory",
    "crate::pipeline",
    "crate::api",
    "crate::metrics",
    "crate::cli",
    "crate::ui",
    "crate::lab",
    "crate::app",
    "crate::config",
];

/// Clocks, under whatever path they are reached.
const CLOCKS: [&str; 2] = ["SystemTime::now", "Instant::now"];

/// What belongs to the kernel side.
const KERNEL_SIDE: [&str; 5] = ["aya", "aya_log", "aya_obj", "aya_build", "netqueue_common"];

/// `domain/` mentions no other layer, no I/O and no clock.
pub(crate) fn domain_is_pure(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| {
        IMPURE.iter().any(|impure| is_below(&mention.path, impure))
            || CLOCKS
                .iter()
                .any(|clock| mention.path == *clock || mention.path.ends_with(&format!("::{clock}")))
    };
    complain(tree, |file| in_module(file, "domain"), banned, "time and facts come in as arguments")
}

/// Only `kernel/` mentions aya and netqueue-common.
pub(crate) fn only_kernel_knows_aya(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| KERNEL_SIDE.iter().any(|name| is_below(&mention.path, name));
    complain(
        tree,
        |file| !in_module(file, "kernel"),
        banned,
        "only kernel/ may know it; others get domain types",
    )
}

/// `recording/` mentions no part of the daemon but `domain`, and no runtime.
pub(crate) fn recording_knows_the_domain_only(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| {
        let own = ["crate::domain", "crate::recording"].iter().any(|own| is_below(&mention.path, own));
        mention.path.starts_with("crate::") && !own || is_below(&mention.path, "tokio")
    };
    complain(tree, |file| in_module(file, "recording"), banned, "a recording is a file of domain values")
}

/// Only `pipeline/` gives observations to the aggregator, all of them by way of its feed.
pub(crate) fn only_the_feed_tells_the_aggregator(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| mention.path.ends_with("domain::Aggregator");
    let within = |file: &str| file.starts_with("pipeline/") && file != "pipeline/feed.rs";
    complain(tree, within, banned, "tell the feed an Observation: a recording would lack it")
}

/// `api/` and `metrics/` mention neither `kernel` nor each other.
pub(crate) fn surfaces_are_apart(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (surface, other) in [("api", "crate::metrics"), ("metrics", "crate::api")] {
        let banned =
            |mention: &Mention| is_below(&mention.path, "crate::kernel") || is_below(&mention.path, other);
        let within = |file: &str| in_module(file, surface);
        complaints.extend(complain(tree, within, banned, "a surface sees domain::Snapshot"));
    }
    complaints
}

/// The parts of the daemon that know something a surface over HTTP must ask for.
const ASKED_FOR: [&str; 6] = [
    "crate::kernel",
    "crate::pipeline",
    "crate::snapshots",
    "crate::inventory",
    "crate::api",
    "crate::metrics",
];

/// `ui/` serves files: the page gets its data from the API, as `client/` does, which may run on another machine.
pub(crate) fn outsiders_ask_over_http(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| ASKED_FOR.iter().any(|part| is_below(&mention.path, part));
    let outside = |file: &str| ["ui", "client", "tui"].iter().any(|module| in_module(file, module));
    complain(tree, outside, banned, "what it knows comes over HTTP")
}

/// Only `main.rs` mentions `app`, the composition root.
pub(crate) fn only_main_sees_app(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| {
        is_below(&mention.path, "crate::app") || is_below(&mention.path, "netqueue_daemon::app")
    };
    let within = |file: &str| file != "main.rs" && !in_module(file, "app");
    complain(tree, within, banned, "only main.rs may know the composition root")
}

/// One complaint for each banned mention in the files `within` selects by their path below `src/`.
fn complain(
    tree: &Tree,
    within: impl Fn(&str) -> bool,
    banned: impl Fn(&Mention) -> bool,
    instead: &str,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { path, text } in tree.rust(SOURCES) {
        let Some(file) = path.strip_prefix(SOURCES).filter(|file| within(file)) else { continue };
        for mention in mentions(file, text).into_iter().filter(&banned) {
            complaints.push(format!("{path}:{}: {}: {instead}", mention.line, mention.path));
        }
    }
    complaints
}

fn in_module(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(file: &str, text: &str) -> Tree {
        Tree::of(&[(&format!("{SOURCES}{file}"), text)])
    }

    #[test]
    fn a_clock_or_a_file_in_the_domain_is_found() {
        for bad in
            ["let t = Instant::now();", "use std::time; fn f() { time::SystemTime::now(); }", "use std::fs;"]
        {
            assert_eq!(domain_is_pure(&tree("domain/ledger.rs", bad)).len(), 1, "{bad}");
        }
        assert_eq!(domain_is_pure(&tree("domain/mod.rs", "use crate::{domain::cause, kernel};")).len(), 1);
    }

    #[test]
    fn a_pure_domain_and_an_impure_pipeline_are_fine() {
        let pure = "use std::time::Duration;\nuse super::cause::Cause;\n// Instant::now is for others\n";
        assert!(domain_is_pure(&tree("domain/ledger.rs", pure)).is_empty());
        assert!(domain_is_pure(&tree("pipeline.rs", "let now = Instant::now();")).is_empty());
    }

    #[test]
    fn aya_is_for_the_kernel_folder() {
        assert_eq!(only_kernel_knows_aya(&tree("app.rs", "use aya::Ebpf;")).len(), 1);
        assert_eq!(only_kernel_knows_aya(&tree("lab/mod.rs", "let k: netqueue_common::Key;")).len(), 1);
        assert!(only_kernel_knows_aya(&tree("kernel/attach.rs", "use aya::Ebpf;")).is_empty());
    }

    #[test]
    fn a_recording_lacks_nothing_the_aggregator_is_told() {
        let bad = "use crate::{domain::Aggregator, clock};";
        assert_eq!(only_the_feed_tells_the_aggregator(&tree("pipeline/live.rs", bad)).len(), 1);
        assert!(only_the_feed_tells_the_aggregator(&tree("pipeline/feed.rs", bad)).is_empty());
        assert_eq!(recording_knows_the_domain_only(&tree("recording/reader.rs", bad)).len(), 1);
    }

    #[test]
    fn surfaces_do_not_meet() {
        assert_eq!(surfaces_are_apart(&tree("api/mod.rs", "use crate::metrics::Page;")).len(), 1);
        assert_eq!(surfaces_are_apart(&tree("metrics/mod.rs", "use crate::kernel;")).len(), 1);
        assert!(surfaces_are_apart(&tree("api/mod.rs", "use crate::domain::Snapshot;")).is_empty());
    }

    #[test]
    fn a_page_or_a_client_that_reaches_into_the_daemon_is_found() {
        for file in ["ui/mod.rs", "client/http.rs", "tui/feed.rs"] {
            assert_eq!(outsiders_ask_over_http(&tree(file, "use crate::snapshots::Snapshots;")).len(), 1);
            assert!(outsiders_ask_over_http(&tree(file, "use crate::domain::glossary;")).is_empty());
        }
        assert!(outsiders_ask_over_http(&tree("cli/doctor.rs", "use crate::kernel::Check;")).is_empty());
    }

    #[test]
    fn the_composition_root_is_for_main() {
        assert_eq!(only_main_sees_app(&tree("cli/mod.rs", "crate::app::run();")).len(), 1);
        assert!(only_main_sees_app(&tree("main.rs", "use netqueue_daemon::app;")).is_empty());
    }
}
