//! Paths of the workspace, and of the folders under `target/` that xtask owns.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The triple of static builds. glibc links statically there, so no musl target is needed.
pub(crate) const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The checked-out repository.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace this xtask was started for.
    pub(crate) fn find() -> Result<Self> {
        let here = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(xtask) => PathBuf::from(xtask).join(".."),
            None => env::current_dir().context("the current directory cannot be read")?,
        };
        let root = here
            .ancestors()
            .find(|dir| dir.join("xtask").is_dir() && dir.join("Cargo.lock").is_file())
            .with_context(|| {
                format!("{} is not inside the netqueue workspace: run `cargo xtask` there", here.display())
            })?;
        let root = root.canonicalize().with_context(|| format!("{} cannot be resolved", root.display()))?;
        Ok(Self { root })
    }

    /// Names a copy of the repository.
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The repository's top folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A folder or file under `target/`, for what xtask itself fetches and makes.
    pub(crate) fn target(&self, below: &str) -> PathBuf {
        self.root.join("target").join(below)
    }

    /// Folder into which cargo puts what it builds.
    pub(crate) fn artifacts(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.root.join(dir),
            None => self.root.join("target"),
        }
    }

    /// Formats a path as a reader of this workspace would write it.
    pub(crate) fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
