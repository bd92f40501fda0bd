//! Packs a guest's whole file system: PID 1, netqueue, the job, the modules, a small Debian if any.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cpio::newc::{Builder, trailer};
use guest_init::job::{self, Step};

use super::modules::Module;

/// Folders PID 1 mounts on or the job writes to.
const FOLDERS: [&str; 6] = ["dev", "modules", "proc", "run", "sys", "tmp"];
/// Folders that a Debian brings itself; its programs are in /usr/bin, and /bin leads there.
const OWN_FOLDERS: [&str; 2] = ["bin", "etc"];

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const TEXT: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// Contents of a guest's file system.
pub(crate) struct Contents<'a> {
    pub(crate) init: &'a Path,
    pub(crate) netqueue: &'a Path,
    /// Folder with a whole Debian, if the guest has one.
    pub(crate) userland: Option<&'a Path>,
    /// Other files: path in the guest, and path here.
    pub(crate) files: &'a [(&'static str, PathBuf)],
    pub(crate) job: &'a [Step],
    pub(crate) modules: &'a [Module],
}

/// Writes the archive the kernel unpacks at boot.
pub(crate) fn pack(contents: &Contents<'_>, into: &Path) -> Result<()> {
    let shown = || format!("the initramfs {} cannot be written", into.display());
    let mut archive = Archive { out: BufWriter::new(File::create(into).with_context(shown)?), inode: 0 };
    for folder in FOLDERS {
        archive.add(folder, FOLDER, &[])?;
    }
    let programs = match contents.userland {
        Some(folder) => {
            archive.add_all(folder, Path::new(""))?;
            "usr/bin"
        }
        None => {
            for folder in OWN_FOLDERS {
                archive.add(folder, FOLDER, &[])?;
            }
            archive.add("etc/passwd", TEXT, b"root:x:0:0:root:/:/bin/netqueue\n")?;
            archive.add("etc/hosts", TEXT, b"127.0.0.1 localhost\n::1 localhost\n")?;
            "bin"
        }
    };
    archive.add("init", PROGRAM, &program(contents.init)?)?;
    archive.add(&format!("{programs}/netqueue"), PROGRAM, &program(contents.netqueue)?)?;
    for (place, file) in contents.files {
        let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        archive.add(place, PROGRAM, &bytes)?;
    }
    archive.add(job::FILE.trim_start_matches('/'), TEXT, job::write(contents.job).as_bytes())?;
    for (order, module) in contents.modules.iter().enumerate() {
        // PID 1 loads them in the order of their names.
        archive.add(&format!("modules/{order:02}-{}.ko", module.name), TEXT, &module.bytes)?;
    }
    let mut out = trailer(archive.out).with_context(shown)?;
    out.flush().with_context(shown)
}

struct Archive {
    out: BufWriter<File>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let shown = || format!("{name} cannot be packed");
        self.inode += 1;
        let size = u32::try_from(bytes.len()).with_context(shown)?;
        let mut entry = Builder::new(name).mode(mode).ino(self.inode).nlink(1).write(&mut self.out, size);
        entry.write_all(bytes).with_context(shown)?;
        entry.finish().map(drop).with_context(shown)
    }

    /// Adds everything in `folder` under `name`, except what is neither file, folder nor link.
    fn add_all(&mut self, folder: &Path, name: &Path) -> Result<()> {
        let shown = || format!("{} cannot be packed", folder.display());
        let entries = fs::read_dir(folder).with_context(shown)?.collect::<io::Result<Vec<_>>>();
        let mut entries = entries.with_context(shown)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            let Some(packed) = name.to_str() else { continue };
            let metadata = fs::symlink_metadata(&path).with_context(shown)?;
            if metadata.is_symlink() {
                let target = fs::read_link(&path).with_context(shown)?;
                self.add(packed, LINK, target.as_os_str().as_bytes())?;
            } else if metadata.is_dir() {
                self.add(packed, FOLDER, &[])?;
                self.add_all(&path, &name)?;
            } else if metadata.is_file() {
                self.add(packed, metadata.mode(), &fs::read(&path).with_context(shown)?)?;
            }
        }
        Ok(())
    }
}

/// Reads a program, which must need no file but itself: the guest has no dynamic loader.
fn program(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let loader = wants_loader(&bytes).with_context(|| format!("{} is no 64-bit program", path.display()))?;
    ensure!(!loader, "{} is linked dynamically: a guest needs a static binary", path.display());
    Ok(bytes)
}

/// Returns whether an ELF file names a program interpreter.
///
/// `None` where it is no little-endian 64-bit ELF file.
fn wants_loader(elf: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (short(54)?, short(56)?);
    for header in 0..count {
        let at = table.checked_add(header * size)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with one program header of this kind.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
        bytes
    }

    fn names(archive: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut reader = cpio::NewcReader::new(File::open(archive).unwrap()).unwrap();
        while !reader.entry().is_trailer() {
            names.push(reader.entry().name().to_owned());
            reader = cpio::NewcReader::new(reader.finish().unwrap()).unwrap();
        }
        names
    }

    #[test]
    fn the_archive_holds_what_the_guest_reads() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        fs::write(&program, elf(1)).unwrap();
        let job = [Step::Run { argv: vec!["/bin/netqueue".to_owned()] }];
        let modules = [Module { name: "veth".to_owned(), bytes: vec![1, 2, 3] }];
        let contents = Contents {
            init: &program,
            netqueue: &program,
            userland: None,
            files: &[],
            job: &job,
            modules: &modules,
        };
        let into = dir.path().join("archive");
        pack(&contents, &into).unwrap();

        let names = names(&into);
        for wanted in ["init", "bin/netqueue", "job", "modules/00-veth.ko", "proc"] {
            assert!(names.iter().any(|name| name == wanted), "{wanted} is not among {names:?}");
        }
    }

    #[test]
    fn a_debian_is_packed_whole_and_netqueue_is_where_its_programs_are() {
        let dir = tempfile::tempdir().unwrap();
        let (program, debian) = (dir.path().join("program"), dir.path().join("debian"));
        fs::write(&program, elf(1)).unwrap();
        fs::create_dir_all(debian.join("usr/bin")).unwrap();
        fs::write(debian.join("usr/bin/ss"), "").unwrap();
        std::os::unix::fs::symlink("usr/bin", debian.join("bin")).unwrap();
        let contents = Contents {
            init: &program,
            netqueue: &program,
            userland: Some(&debian),
            files: &[],
            job: &[],
            modules: &[],
        };
        let into = dir.path().join("archive");
        pack(&contents, &into).unwrap();
        let names = names(&into);
        for wanted in ["bin", "usr", "usr/bin", "usr/bin/ss", "usr/bin/netqueue", "init", "proc"] {
            assert_eq!(names.iter().filter(|name| *name == wanted).count(), 1, "{wanted} in {names:?}");
        }
    }

    #[test]
    fn a_dynamic_binary_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, elf(3)).unwrap();
        assert!(program(&path).unwrap_err().to_string().contains("static"));
        fs::write(&path, "#!/bin/sh").unwrap();
        assert!(program(&path).unwrap_err().to_string().contains("no 64-bit program"));
    }
}
