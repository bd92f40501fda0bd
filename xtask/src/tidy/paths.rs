//! The module paths that a Rust file mentions, with `use` groups spelt out and `super` resolved.
//!
//! Comments do not count.

/// A path and the line that mentions it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    /// Path such as `crate::kernel::decode` or `aya::maps`.
    pub(crate) path: String,
}

/// Returns a file's lines without their comments, numbered from 1.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)))
}

/// Returns whether the line contains `word` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Returns all paths that a file of this crate mentions. `file` is its path below `src/`.
pub(crate) fn mentions(file: &str, text: &str) -> Vec<Mention> {
    let module = module_of(file);
    let mut found = Vec::new();
    // The statement of a `use` and the line it began on.
    let mut statement: Option<(usize, String)> = None;
    for (line, code) in code(text) {
        if let Some((_, open)) = &mut statement {
            open.push_str(code);
        } else if let Some(rest) = use_of(code) {
            statement = Some((line, rest.to_owned()));
        } else {
            found.extend(inline(code).map(|path| Mention { line, path: resolve(&path, &module) }));
        }
        if let Some((begun, open)) = statement.take_if(|(_, open)| open.contains(';')) {
            let (tree, rest) = open.split_once(';').unwrap_or((&open, ""));
            let paths = expand("", tree);
            found
                .extend(paths.into_iter().map(|path| Mention { line: begun, path: resolve(&path, &module) }));
            found.extend(inline(rest).map(|path| Mention { line, path: resolve(&path, &module) }));
        }
    }
    found
}

/// Returns whether `path` is `prefix` or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn without_comment(line: &str) -> &str {
    // Two slashes after a colon are an address in a string.
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

fn use_of(code: &str) -> Option<&str> {
    let mut rest = code.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        rest = after.trim_start();
        if rest.starts_with('(') {
            rest = rest.split_once(')')?.1.trim_start();
        }
    }
    rest.strip_prefix("use ")
}

/// Expands `a::{b, c::{d, e as f}}` to `a::b`, `a::c::d`, `a::c::e`.
fn expand(prefix: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim().trim_start_matches("::");
        return if path.is_empty() { Vec::new() } else { vec![format!("{prefix}{path}")] };
    };
    let head = format!("{prefix}{}", tree[..open].trim());
    let inner = tree[open + 1..].rsplit_once('}').map_or(&tree[open + 1..], |(inner, _)| inner);
    branches(inner).into_iter().flat_map(|branch| expand(&head, branch)).collect()
}

/// Splits at the commas that are not inside another group.
fn branches(inner: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    inner
        .split(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        })
        .collect()
}

/// Finds the paths in a line of code: at least two names joined by `::`.
fn inline(code: &str) -> impl Iterator<Item = String> {
    let words =
        code.split(|character: char| !character.is_alphanumeric() && character != '_' && character != ':');
    words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::")).map(str::to_owned)
}

/// Returns the module of a file: `domain/aggregator.rs` gives `[domain, aggregator]`.
fn module_of(file: &str) -> Vec<&str> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut names: Vec<&str> = stem.split('/').collect();
    if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(last)) {
        names.pop();
    }
    names
}

fn resolve(path: &str, module: &[&str]) -> String {
    let mut rest = path;
    let mut above = module;
    if let Some(below) = rest.strip_prefix("self::") {
        rest = below;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(below) = rest.strip_prefix("super::") {
        rest = below;
        above = &above[..above.len().saturating_sub(1)];
    }
    let names: Vec<&str> = std::iter::once("crate").chain(above.iter().copied()).chain([rest]).collect();
    names.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        mentions("domain/ledger.rs", text).into_iter().map(|mention| mention.path).collect()
    }

    #[test]
    fn a_group_is_spelt_out_over_several_lines() {
        let text = "pub(crate) use crate::{\n    kernel::{decode, probes as p},\n    api,\n};\n";
        assert_eq!(paths(text), ["crate::kernel::decode", "crate::kernel::probes", "crate::api"]);
    }

    #[test]
    fn paths_in_expressions_count_and_comments_do_not() {
        assert_eq!(paths("let x = std::fs::read(p); // not aya::Ebpf\n"), ["std::fs::read"]);
        assert_eq!(paths("let x = \"http://host\";\n"), Vec::<String>::new());
    }

    #[test]
    fn super_is_resolved_from_where_the_file_is() {
        assert_eq!(
            paths("use super::super::kernel;\nuse super::cause::Cause;\n"),
            ["crate::kernel", "crate::domain::cause::Cause"]
        );
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe { x }", "unsafe") && !has_word("unsafe_op", "unsafe"));
        assert!(is_below("aya::maps", "aya") && !is_below("ayat::maps", "aya"));
    }
}
