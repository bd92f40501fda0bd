//! Tar archives without any trace of the machine: root's files, one date, one order.

use std::io::Write as _;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::tree::Tree;

/// An archive in the making.
pub(super) struct Archive {
    builder: Builder<Vec<u8>>,
    date: u32,
}

impl Archive {
    /// Starts an empty archive, all of whose files are dated `date`.
    pub(super) fn new(date: u32) -> Self {
        Self { builder: Builder::new(Vec::new()), date }
    }

    /// Adds everything that is installed, folders first.
    pub(super) fn tree(mut self, tree: &Tree) -> Result<Self> {
        for folder in tree.folders() {
            self.folder(&folder, 0o755)?;
        }
        for entry in tree.entries() {
            self.file(&entry.path, entry.mode(), &entry.bytes)?;
        }
        Ok(self)
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.add(EntryType::Directory, &format!("{path}/"), mode, &[])
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.add(EntryType::Regular, path, mode, bytes)
    }

    /// Adds a file with an extended attribute.
    pub(super) fn file_with(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
        (name, value): (&str, &[u8]),
    ) -> Result<()> {
        let name = format!("SCHILY.xattr.{name}");
        self.builder
            .append_pax_extensions([(name.as_str(), value)])
            .with_context(|| format!("{path} cannot be packed"))?;
        self.file(path, mode, bytes)
    }

    fn add(&mut self, kind: EntryType, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let shown = || format!("{path} cannot be packed");
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root").and_then(|()| header.set_groupname("root")).with_context(shown)?;
        header.set_mtime(self.date.into());
        header.set_size(u64::try_from(bytes.len()).with_context(shown)?);
        self.builder.append_data(&mut header, path, bytes).with_context(shown)
    }

    /// Returns the archive as it is.
    pub(super) fn plain(self) -> Result<Vec<u8>> {
        self.builder.into_inner().context("an archive cannot be closed")
    }

    /// Returns the archive, compressed.
    pub(super) fn compressed(self) -> Result<Vec<u8>> {
        let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        packed.write_all(&self.plain()?)?;
        packed.finish().context("an archive cannot be compressed")
    }
}
