//! Rule on doc comments: each stands alone, as an IDE shows it beside the item.

use super::tree::{Text, Tree};

/// Characters that the first line may have.
const WIDEST: usize = 100;

/// Openings of half a sentence, or of one that needs the comment before it.
const DANGLING: [&str; 16] = [
    "What", "Who", "Whose", "How", "Whether", "Where", "It", "Those", "These", "They", "That", "As above",
    "The same", "Same as", "Of these", "Ditto",
];

/// Checks that the first line of each doc comment is short, and opens a sentence of its own.
pub(crate) fn doc_comments_stand_alone(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { path, text } in tree.rust("") {
        for (line, first) in first_lines(text) {
            let width = first.chars().count();
            if width > WIDEST {
                complaints.push(format!(
                    "{path}:{line}: {width} characters, {WIDEST} are the most: shorten it, or begin a paragraph"
                ));
            }
            if let Some(opening) = DANGLING.iter().find(|opening| opens_with(first, opening)) {
                complaints.push(format!(
                    "{path}:{line}: {opening} ...: begin with a noun or a verb, and name what is meant"
                ));
            }
        }
    }
    complaints
}

/// Returns the first line of text of each doc comment, with its number.
fn first_lines(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    // Mark of the comment whose first line was found.
    let mut begun = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        match doc(line) {
            Some((_, "")) => {}
            Some((mark, said)) if begun != Some(mark) => {
                begun = Some(mark);
                found.push((index + 1, said));
            }
            Some(_) => {}
            // An attribute may stand between the lines of one comment.
            None if line.starts_with("#[") => {}
            None => begun = None,
        }
    }
    found
}

/// Splits a line of a doc comment into its mark and its text; four slashes are no doc comment.
fn doc(line: &str) -> Option<(&'static str, &str)> {
    let (mark, said) = ["///", "//!"].iter().find_map(|mark| Some((*mark, line.strip_prefix(mark)?)))?;
    (!said.starts_with('/')).then_some((mark, said.trim()))
}

/// Returns whether the text begins with these whole words.
fn opens_with(text: &str, words: &str) -> bool {
    text.strip_prefix(words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        doc_comments_stand_alone(&Tree::of(&[("a/b.rs", text)]))
    }

    #[test]
    fn a_first_line_that_is_too_long_is_found() {
        let line = |characters: usize| format!("    /// {}\n    const A: u8 = 1;\n", "ä".repeat(characters));
        assert_eq!(complaints(&line(WIDEST)), Vec::<String>::new());
        assert_eq!(complaints(&line(WIDEST + 1)).len(), 1);
        assert!(complaints(&line(WIDEST + 1))[0].starts_with("a/b.rs:1: 101 "));
        assert_eq!(complaints(&format!("//! {}\n", "x".repeat(WIDEST + 1))).len(), 1);
    }

    #[test]
    fn later_lines_may_be_long() {
        let long = "x".repeat(WIDEST + 1);
        assert_eq!(complaints(&format!("/// Short.\n///\n/// {long}\nstruct A;\n")), Vec::<String>::new());
    }

    #[test]
    fn each_opening_that_dangles_is_found() {
        for opening in DANGLING {
            for mark in ["///", "//!"] {
                assert_eq!(complaints(&format!("{mark} {opening} the kernel.\n")).len(), 1, "{opening}");
                assert_eq!(complaints(&format!("{mark} {opening}.\n")).len(), 1, "{opening}");
                assert_eq!(complaints(&format!("{mark} {opening}ever.\n")), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn each_item_has_its_own_first_line() {
        let fields = "struct A {\n    /// Bytes.\n    a: u8,\n    /// What is left.\n    b: u8,\n}\n";
        let found = complaints(fields);
        assert!(matches!(found.as_slice(), [one] if one.starts_with("a/b.rs:4: ")), "{found:?}");
        assert_eq!(complaints("//! Promises.\n/// It counts.\nstruct A;\n").len(), 1);
        assert_eq!(complaints("///\n/// It counts.\nstruct A;\n").len(), 1);
    }

    #[test]
    fn a_later_sentence_may_look_back() {
        for fine in [
            "/// Counts drops.\n/// It wraps.\nstruct A;\n",
            "/// Counts drops.\n#[derive(Debug)]\n/// It wraps.\nstruct A;\n",
            "// What follows is no doc comment.\n//// It is none either.\n",
            "/// This counter wraps.\nstruct A;\n",
            "/// Whatever the kernel says.\nstruct A;\n",
        ] {
            assert_eq!(complaints(fine), Vec::<String>::new(), "{fine}");
        }
    }
}
