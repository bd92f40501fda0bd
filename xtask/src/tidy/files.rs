//! Rules for every file: short, with a promise, finished, and of no particular machine.

use super::paths::has_word;
use super::tree::{Text, Tree};

const LONGEST: usize = 400;

/// Folders of a person's or a machine's own. In pieces, so that this file does not break its own rule.
const MACHINE_PATHS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];

/// Beginnings of package mirrors' names.
const MIRRORS: [&str; 6] = ["deb.", "ftp.", "mirror", "archive.", "security.", "artifact"];

/// Words of unfinished work. In pieces, so that this file does not break its own rule.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("X", "XX")];

/// Checks that every Rust file begins, after its attributes, with `//!`.
pub(crate) fn promise_first(tree: &Tree) -> Vec<String> {
    let first = |text: &str| {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        lines.next().is_some_and(|line| line.starts_with("//! "))
    };
    let silent = tree.rust("").filter(|file| !first(file.text));
    silent
        .map(|file| format!("{}: its first line must say, after `//!`, what it promises", file.path))
        .collect()
}

/// Checks that no Rust file is longer than a reader's patience.
pub(crate) fn short_enough(tree: &Tree) -> Vec<String> {
    let long = tree.rust("").filter_map(|Text { path, text }| {
        let lines = text.lines().count();
        (lines > LONGEST).then(|| format!("{path}: {lines} lines, {LONGEST} are the most: split it"))
    });
    long.collect()
}

/// Checks that no file names a folder that only one machine has.
pub(crate) fn no_machine_paths(tree: &Tree) -> Vec<String> {
    each_line(tree, |line| {
        let found = MACHINE_PATHS.iter().find(|path| begins_in(line, path))?;
        Some(format!("{found}... exists on one machine only: use a path from the workspace or an argument"))
    })
}

/// Checks that no file names a package mirror: set-up takes the machine's own.
pub(crate) fn no_mirrors(tree: &Tree) -> Vec<String> {
    each_line(tree, |line| {
        let host = hosts(line).find(|host| MIRRORS.iter().any(|mirror| host.starts_with(mirror)))?;
        Some(format!("{host}: package mirrors come from the machine's own configuration"))
    })
}

/// Checks that nothing is left for later.
pub(crate) fn nothing_unfinished(tree: &Tree) -> Vec<String> {
    each_line(tree, |line| {
        let found = UNFINISHED
            .iter()
            .find(|word| has_word(line, word.trim_end_matches('!')) && line.contains(*word))?;
        Some(format!("{found}: do it, or say in plain words what is missing and why"))
    })
}

fn each_line(tree: &Tree, judge: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    // Cargo writes the lock file, and its registry's name is no mirror's.
    for Text { path, text } in tree.texts().filter(|file| file.path != "Cargo.lock") {
        for (index, line) in text.lines().enumerate() {
            if let Some(complaint) = judge(line) {
                complaints.push(format!("{path}:{}: {complaint}", index + 1));
            }
        }
    }
    complaints
}

/// Returns whether an absolute path in the line begins with `path`.
///
/// A path that merely goes through it does not count.
fn begins_in(line: &str, path: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || "._-~}*".contains(character);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(inside))
}

fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let rest = line.match_indices("://").map(|(at, found)| &line[at + found.len()..]);
    rest.filter_map(|rest| {
        rest.split(|character: char| !character.is_alphanumeric() && !".-".contains(character)).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Tree {
        Tree::of(&[("a/b.rs", text)])
    }

    #[test]
    fn a_file_without_a_promise_is_found() {
        assert_eq!(promise_first(&file("use std::fs;\n//! Too late.\n")).len(), 1);
        assert!(promise_first(&file("#![no_std]\n\n//! Promises.\n")).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(short_enough(&file(&"x\n".repeat(LONGEST + 1))).len(), 1);
        assert!(short_enough(&file(&"x\n".repeat(LONGEST))).is_empty());
    }

    #[test]
    fn a_machines_own_path_is_found() {
        for path in MACHINE_PATHS {
            assert_eq!(no_machine_paths(&file(&format!("let p = \"{path}x\";"))).len(), 1);
            assert!(no_machine_paths(&file(&format!("let p = \"target{path}x\";"))).is_empty());
        }
    }

    #[test]
    fn a_mirror_is_found() {
        let mirror = format!("http://{}example.org/debian", MIRRORS[0]);
        assert_eq!(no_mirrors(&file(&mirror)).len(), 1);
        assert!(no_mirrors(&file("http://127.0.0.1:10124/ https://docs.rs/x")).is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            assert_eq!(nothing_unfinished(&file(&format!("// {word} later"))).len(), 1, "{word}");
        }
        assert!(nothing_unfinished(&file("let mastodon = 1;")).is_empty());
    }
}
