//! `cargo xtask tidy`: keeps what ARCHITECTURE.md promises and a machine can check.

mod circles;
mod comments;
mod dependencies;
mod documents;
mod ebpf;
mod files;
mod manifests;
mod paths;
mod tree;

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;
use tree::Tree;

/// A rule reads the tree and returns its complaints, each with the place and what would be right.
type Rule = fn(&Tree) -> Vec<String>;

/// Every rule, with what it keeps true.
const RULES: [(&str, Rule); 16] = [
    ("pure crates are pure", dependencies::pure_crates_are_pure),
    ("modules know whom they may", dependencies::modules_know_whom_they_may),
    ("no file needs itself", circles::no_circles),
    ("recording needs no runtime", dependencies::recording_needs_no_runtime),
    ("the aggregator is told by observations only", dependencies::only_the_feed_tells_the_aggregator),
    ("the contract depends on nothing", manifests::contract_is_bare),
    ("crates need what they may", manifests::crates_need_what_they_may),
    ("one Rust version", manifests::versions_agree),
    ("every file begins with its promise", files::promise_first),
    ("no file is long", files::short_enough),
    ("no path of one machine", files::no_machine_paths),
    ("no mirror's name", files::no_mirrors),
    ("doc comments stand alone", comments::doc_comments_stand_alone),
    ("nothing is left for later", files::nothing_unfinished),
    ("unsafe stays behind its fence", ebpf::unsafe_is_fenced),
    ("ARCHITECTURE.md is true", documents::architecture_is_true),
];

/// Prints every complaint; succeeds if there is none.
pub(crate) fn command(workspace: &Workspace) -> Result<ExitCode> {
    Ok(if check(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints every breach of a rule; returns whether there is none.
pub(crate) fn check(workspace: &Workspace) -> Result<bool> {
    let tree = Tree::read(workspace.root())?;
    let mut complaints = 0;
    for (name, rule) in RULES {
        for complaint in rule(&tree) {
            complaints += 1;
            println!("tidy: {name}: {complaint}");
        }
    }
    println!("tidy: {} rules, {complaints} complaints", RULES.len());
    Ok(complaints == 0)
}
