//! Rules on what each module of the daemon, and each pure crate, may use.

use super::paths::{Mention, is_below, mentions};
use super::tree::{Text, Tree};

const DAEMON: &str = "netqueue-daemon/src/";

/// The crates without clock, I/O or threads, by their sources.
const PURE: [&str; 2] = ["netqueue-daemon/domain/src/", "netqueue-daemon/api/src/"];

/// Parts of the standard library that a pure crate may use.
///
/// A parent such as `std::net` is not enough: it would let a socket in.
const PURE_STD: [&str; 22] = [
    "std::borrow",
    "std::cmp",
    "std::collections",
    "std::convert",
    "std::error",
    "std::f64",
    "std::fmt",
    "std::hash",
    "std::iter",
    "std::marker",
    "std::mem",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::num",
    "std::ops",
    "std::slice",
    "std::str",
    "std::sync::Arc",
    "std::sync::LazyLock",
    "std::time::Duration",
];

/// Crates that not every module may use.
const GUARDED: [&str; 1] = ["netqueue_kernel"];

/// Modules, and crates of [`GUARDED`], that each module of the daemon may use.
///
/// A module without a row is refused.
const MAY_KNOW: [(&str, &[&str]); 20] = [
    ("api", &["build_info", "recording", "runbooks", "snapshots", "web"]),
    (
        "app",
        &[
            "api",
            "clock",
            "config",
            "delivery",
            "inventory",
            "journal",
            "netqueue_kernel",
            "memory",
            "metrics",
            "pipeline",
            "privileges",
            "recording",
            "service_manager",
            "snapshots",
            "ui",
            "web",
        ],
    ),
    ("build_info", &[]),
    ("cli", &["config", "api", "inventory", "netqueue_kernel", "pipeline", "privileges", "recording"]),
    ("clock", &[]),
    ("config", &["delivery"]),
    ("delivery", &["clock", "snapshots"]),
    ("inventory", &["clock"]),
    ("journal", &["clock"]),
    ("memory", &[]),
    ("metrics", &["build_info", "snapshots"]),
    (
        "pipeline",
        &[
            "clock",
            "inventory",
            "journal",
            "netqueue_kernel",
            "memory",
            "recording",
            "snapshots",
            "spike_log",
        ],
    ),
    ("privileges", &["netqueue_kernel"]),
    ("recording", &[]),
    ("runbooks", &[]),
    ("service_manager", &["snapshots"]),
    ("snapshots", &[]),
    ("spike_log", &[]),
    ("ui", &[]),
    ("web", &[]),
];

/// Files that combine everything: the binary, and the library's list of modules.
const ROOTS: [&str; 2] = ["main.rs", "lib.rs"];

/// Checks that the pure crates use only parts of the standard library without effects.
///
/// Their manifests limit which other crates they use.
pub(crate) fn pure_crates_are_pure(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| {
        let std = ["std", "core", "alloc"].iter().any(|name| is_below(&mention.path, name));
        std && !PURE_STD.iter().any(|pure| is_below(&mention.path, pure))
    };
    let complaints = PURE
        .iter()
        .flat_map(|sources| complain(tree, sources, |_| true, banned, "time and facts come in as arguments"));
    complaints.collect()
}

/// Checks that each module mentions only those that [`MAY_KNOW`] gives it.
pub(crate) fn modules_know_whom_they_may(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { path, text } in tree.rust(DAEMON) {
        let Some(file) = path.strip_prefix(DAEMON).filter(|file| !ROOTS.contains(file)) else { continue };
        let module = file.split(['/', '.']).next().unwrap_or_default();
        let Some((_, known)) = MAY_KNOW.iter().find(|(name, _)| *name == module) else {
            complaints
                .push(format!("{path}: xtask/src/tidy/dependencies.rs must say what {module} may know"));
            continue;
        };
        for mention in mentions(file, text) {
            let below = mention.path.strip_prefix("crate::");
            let other = below.unwrap_or(&mention.path).split("::").next().unwrap_or_default();
            let guarded = match below {
                Some(_) => MAY_KNOW.iter().any(|(name, _)| *name == other),
                None => GUARDED.contains(&other),
            };
            if guarded && other != module && !known.contains(&other) {
                complaints.push(format!(
                    "{path}:{}: {}: {module} may know {}",
                    mention.line,
                    mention.path,
                    if known.is_empty() { "no other module".to_owned() } else { known.join(", ") }
                ));
            }
        }
    }
    complaints
}

/// Checks that `recording/` mentions no runtime: it is a file of domain values.
pub(crate) fn recording_needs_no_runtime(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| is_below(&mention.path, "tokio");
    complain(
        tree,
        DAEMON,
        |file| in_module(file, "recording"),
        banned,
        "a recording is a file of domain values",
    )
}

/// Checks that within `pipeline/` only the feed uses the aggregator.
///
/// A recording would lack an observation that does not pass through the feed.
pub(crate) fn only_the_feed_tells_the_aggregator(tree: &Tree) -> Vec<String> {
    let banned = |mention: &Mention| mention.path.ends_with("domain::Aggregator");
    let within = |file: &str| file.starts_with("pipeline/") && file != "pipeline/feed.rs";
    complain(tree, DAEMON, within, banned, "tell the feed an Observation: a recording would lack it")
}

/// Returns a complaint for each banned mention in the files that `within` selects below `sources`.
fn complain(
    tree: &Tree,
    sources: &str,
    within: impl Fn(&str) -> bool,
    banned: impl Fn(&Mention) -> bool,
    instead: &str,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { path, text } in tree.rust(sources) {
        let Some(file) = path.strip_prefix(sources).filter(|file| within(file)) else { continue };
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

    fn daemon(file: &str, text: &str) -> Tree {
        Tree::of(&[(&format!("{DAEMON}{file}"), text)])
    }

    fn domain(text: &str) -> Tree {
        Tree::of(&[(&format!("{}joining.rs", PURE[0]), text)])
    }

    #[test]
    fn a_clock_a_file_or_a_thread_in_a_pure_crate_is_found() {
        for bad in [
            "let t = std::time::Instant::now();",
            "use std::time; fn f() { time::SystemTime::now(); }",
            "use std::fs;",
            "use std::{collections::HashMap, thread};",
            "use std::net::{IpAddr, TcpStream};",
            "std::process::exit(1);",
        ] {
            assert_eq!(pure_crates_are_pure(&domain(bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn values_are_fine_and_others_may_have_a_clock() {
        let pure = "use std::{net::IpAddr, time::Duration};\nuse super::cause::Cause;\n// Instant::now is for others\n";
        assert_eq!(pure_crates_are_pure(&domain(pure)), Vec::<String>::new());
        assert!(pure_crates_are_pure(&daemon("clock.rs", "let now = std::time::Instant::now();")).is_empty());
    }

    #[test]
    fn a_recording_lacks_nothing_the_aggregator_is_told() {
        let bad = "use netqueue_domain::{Aggregator, Snapshot};";
        let renamed = "fn f(aggregator: &domain::Aggregator) {}";
        assert_eq!(only_the_feed_tells_the_aggregator(&daemon("pipeline/live.rs", renamed)).len(), 1);
        assert_eq!(only_the_feed_tells_the_aggregator(&daemon("pipeline/live.rs", bad)).len(), 1);
        assert!(only_the_feed_tells_the_aggregator(&daemon("pipeline/feed.rs", bad)).is_empty());
        assert_eq!(
            recording_needs_no_runtime(&daemon("recording/reader.rs", "use tokio::fs::File;")).len(),
            1
        );
    }

    #[test]
    fn a_handler_that_reaches_into_the_pipeline_is_found() {
        for (file, bad) in [
            ("api/peers.rs", "use crate::pipeline;"),
            ("api/mod.rs", "use crate::metrics::Page;"),
            ("metrics/mod.rs", "use netqueue_kernel::Attached;"),
            ("ui/mod.rs", "let page = crate::api::page();"),
            ("journal/writer.rs", "use super::super::pipeline;"),
            ("cli/mod.rs", "crate::app::run();"),
            ("api/query_tests.rs", "use crate::pipeline;"),
            ("api/query.rs", "#[cfg(test)]\nfn f() {}\nuse crate::metrics;"),
        ] {
            let complaints = modules_know_whom_they_may(&daemon(file, bad));
            assert_eq!(complaints.len(), 1, "{file}: {bad}: {complaints:?}");
        }
    }

    #[test]
    fn what_the_table_gives_a_module_is_fine() {
        for (file, fine) in [
            ("api/mod.rs", "use crate::snapshots::Snapshots;"),
            ("main.rs", "crate::app::run();"),
            ("metrics/page_tests.rs", "use crate::snapshots::Snapshots;"),
        ] {
            assert_eq!(modules_know_whom_they_may(&daemon(file, fine)), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn a_new_module_says_what_it_may_know() {
        assert_eq!(modules_know_whom_they_may(&daemon("hub/mod.rs", "")).len(), 1);
    }
}
