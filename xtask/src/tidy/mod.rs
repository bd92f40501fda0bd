//! `cargo xtask tidy`: keeps what ARCHITECTURE.md promises and a machine can check.

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

/// Every rule with what it keeps true.
const RULES: [(&str, Rule); 16] = [
    ("the domain is pure", dependencies::domain_is_pure),
    ("only kernel/ knows aya and the contract", dependencies::only_kernel_knows_aya),
    ("surfaces see neither the kernel side nor each other", dependencies::surfaces_are_apart),
    ("recording knows the domain only", dependencies::recording_knows_the_domain_only),
    ("the aggregator is told by observations only", dependencies::only_the_feed_tells_the_aggregator),
    ("the page and clients ask over HTTP", dependencies::outsiders_ask_over_http),
    ("only main.rs sees app", dependencies::only_main_sees_app),
    ("the contract depends on nothing", manifests::contract_is_bare),
    ("one Rust version", manifests::versions_agree),
    ("every file begins with its promise", files::promise_first),
    ("no file is long", files::short_enough),
    ("no path of one machine", files::no_machine_paths),
    ("no mirror's name", files::no_mirrors),
    ("nothing is left for later", files::nothing_unfinished),
    ("unsafe stays behind its fence", ebpf::unsafe_is_fenced),
    ("ARCHITECTURE.md is true", documents::architecture_is_true),
];

/// Prints every complaint; success where there is none.
pub(crate) fn command(workspace: &Workspace) -> Result<ExitCode> {
    Ok(if check(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether every rule is kept; prints what breaks one.
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
