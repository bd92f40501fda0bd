//! Rule: no file of a crate needs, by way of others, itself.
//!
//! A circle of files can only be understood, tested and moved as one. Test code does not count, nor does a
//! crate's root, which names its modules.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::mentions;
use super::tree::{Text, Tree};

/// Prefix of each crate's sources.
const CRATES: [&str; 9] = [
    "netqueue-common/src/",
    "netqueue-ebpf/src/",
    "netqueue-daemon/api/src/",
    "netqueue-daemon/cli/src/",
    "netqueue-daemon/domain/src/",
    "netqueue-daemon/kernel/src/",
    "netqueue-daemon/lab/src/",
    "netqueue-daemon/src/",
    "xtask/src/",
];

/// Files of one crate by module path, each with the other files that it needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// Checks that no crate has a circle; names one way around for each.
pub(crate) fn no_circles(tree: &Tree) -> Vec<String> {
    let found = CRATES.iter().flat_map(|crate_| {
        let needs = needs(tree, crate_);
        let ways = needs.keys().filter_map(|begin| way_back(&needs, begin)).filter(|way| is_first(way));
        let complaint = |way: Vec<String>| {
            format!("{crate_}: {}: move what the first two share to a file below both", way.join(" -> "))
        };
        ways.map(complaint).collect::<Vec<_>>()
    });
    found.collect()
}

/// Returns whether a way begins with the least of its modules: each circle is reported once.
fn is_first(way: &[String]) -> bool {
    way.iter().min() == way.first()
}

fn needs(tree: &Tree, crate_: &str) -> Needs {
    let files: Vec<_> = tree.rust(crate_).filter(|file| !is_root_or_test(file.path, crate_)).collect();
    let modules: BTreeSet<_> = files.iter().map(|file| module(file.path, crate_)).collect();
    let needs_of = |Text { path, text }: &Text<'_>| {
        let file = path.strip_prefix(crate_).unwrap_or(path);
        let own = module(path, crate_);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = mentions(file, code).into_iter();
        let named = named.filter_map(|mention| Some(mention.path.strip_prefix("crate::")?.to_owned()));
        let needed = named.filter_map(|path| nearest(&modules, &path)).filter(|module| *module != own);
        (own.clone(), needed.collect())
    };
    files.iter().map(needs_of).collect()
}

fn is_root_or_test(path: &str, crate_: &str) -> bool {
    let file = path.strip_prefix(crate_).unwrap_or(path);
    ["lib.rs", "main.rs"].contains(&file) || file.contains("tests")
}

fn module(path: &str, crate_: &str) -> String {
    let file = path.strip_prefix(crate_).unwrap_or(path);
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    stem.strip_suffix("/mod").unwrap_or(stem).replace('/', "::")
}

/// Returns the module that a path lies in or is.
fn nearest(modules: &BTreeSet<String>, path: &str) -> Option<String> {
    let mut prefix = path;
    loop {
        if modules.contains(prefix) {
            return Some(prefix.to_owned());
        }
        prefix = prefix.rsplit_once("::")?.0;
    }
}

/// Returns the shortest way from a module back to itself.
fn way_back(needs: &Needs, begin: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![begin.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| needs.get(last)).into_iter().flatten() {
                if next == begin {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push([way.clone(), vec![next.clone()]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(file, text)| (format!("xtask/src/{file}"), *text)).collect();
        no_circles(&Tree::of(&files.iter().map(|(file, text)| (file.as_str(), *text)).collect::<Vec<_>>()))
    }

    #[test]
    fn a_circle_of_three_files_is_found_once() {
        let found = complaints(&[
            ("a.rs", "use crate::b::{self, C};"),
            ("b/mod.rs", "use super::c;"),
            ("c.rs", "fn c() { crate::a::a() }"),
        ]);
        let [circle] = &found[..] else { panic!("{found:?}") };
        assert!(circle.starts_with("xtask/src/: a -> b -> c: "), "{circle}");
    }

    #[test]
    fn a_chain_and_the_root_and_tests_are_no_circle() {
        let none = complaints(&[
            ("main.rs", "mod a; mod b; use a::A;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ]);
        assert_eq!(none, Vec::<String>::new());
    }
}
