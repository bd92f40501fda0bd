//! ARCHITECTURE.md names every top-level folder, and what it names exists.

use std::collections::BTreeSet;

use super::tree::Tree;

const MAP: &str = "ARCHITECTURE.md";

/// Endings that mark a word as a file's name.
const ENDINGS: [&str; 8] = [".rs", ".toml", ".md", ".yaml", ".yml", ".service", ".sh", ".lock"];

/// Checks that the map mentions every top-level folder, and that every path in backticks exists.
pub(crate) fn architecture_is_true(tree: &Tree) -> Vec<String> {
    let Some(map) = tree.text(MAP) else {
        return vec![format!("{MAP} is missing: it is where a reader starts")];
    };
    let folders = folders(tree);
    let top = folders.iter().filter(|folder| !folder.contains('/') && !folder.starts_with('.'));
    let unmentioned = top.filter(|folder| !map.contains(&format!("{folder}/")));
    let mut complaints: Vec<String> =
        unmentioned.map(|folder| format!("{MAP} does not mention the folder {folder}/")).collect();
    for (index, line) in map.lines().enumerate() {
        for path in quoted(line).filter(|word| is_path(word, &folders)) {
            if !exists(tree, &folders, path) {
                complaints.push(format!("{MAP}:{}: `{path}` does not exist", index + 1));
            }
        }
    }
    complaints
}

fn folders(tree: &Tree) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for path in tree.paths() {
        folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
    }
    folders
}

/// Returns the words between backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns whether a quoted word is a path in this repository, not code, a URL path or a media type.
fn is_path(word: &str, folders: &BTreeSet<String>) -> bool {
    let plain = |character: char| character.is_alphanumeric() || "._-/+".contains(character);
    if word.starts_with(['/', '.']) || !word.chars().all(plain) {
        return false;
    }
    let in_known_folder = word.split_once('/').is_some_and(|(first, _)| folders.contains(first));
    in_known_folder || word.ends_with('/') || ENDINGS.iter().any(|ending| word.ends_with(ending))
}

/// Returns whether a path exists from the top, or below some folder.
fn exists(tree: &Tree, folders: &BTreeSet<String>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = format!("/{path}");
    let mut all = tree.paths().chain(folders.iter().map(String::as_str));
    // The map also describes what builds make.
    path == "target"
        || path.starts_with("target/")
        || all.any(|known| known == path || known.ends_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(map: &str) -> Vec<String> {
        architecture_is_true(&Tree::of(&[(MAP, map), ("xtask/src/main.rs", ""), ("deploy/unit.service", "")]))
    }

    #[test]
    fn a_map_that_forgets_a_folder_or_invents_a_file_is_found() {
        assert_eq!(complaints("`xtask/` builds").len(), 1);
        assert_eq!(complaints("`xtask/`, `deploy/`, `xtask/src/retention.rs`").len(), 1);
        assert_eq!(architecture_is_true(&Tree::default()).len(), 1);
    }

    #[test]
    fn a_true_map_is_fine_and_other_quotes_are_not_paths() {
        let map = "`xtask/` with `main.rs`, `deploy/unit.service`; `GET /metrics`, `application/json`, `Arc<Snapshot>`, `/proc/net/`";
        assert_eq!(complaints(map), Vec::<String>::new());
    }
}
