//! The repository's files as the rules see them: paths from the top, with their text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that are not the project's own.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// Every file; no text where it is not UTF-8.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

/// A text file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

impl Tree {
    /// Reads the project below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(root, "")?;
        Ok(tree)
    }

    fn add(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        let shown = || format!("{} cannot be read", dir.display());
        for entry in fs::read_dir(dir).with_context(shown)? {
            let entry = entry.with_context(shown)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().with_context(shown)?;
            if FOREIGN.contains(&path.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.add(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).with_context(|| format!("{path} cannot be read"))?;
                self.files.insert(path, String::from_utf8(bytes).ok());
            }
        }
        Ok(())
    }

    /// All text files.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Text<'_>> {
        self.files.iter().filter_map(|(path, text)| Some(Text { path, text: text.as_deref()? }))
    }

    /// The Rust files whose path begins with `prefix`.
    pub(crate) fn rust(&self, prefix: &str) -> impl Iterator<Item = Text<'_>> {
        self.texts().filter(move |file| file.path.starts_with(prefix) && file.path.ends_with(".rs"))
    }

    /// One file's text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// All paths of files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// A small tree for a test.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
        Self { files: files.collect() }
    }
}
