//! The licences of everything linked in, in full: most of them require that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::parts::Part;

/// Beginnings of the names of files with terms, in capitals.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Writes one text: each crate's licence, then each licence text once, after the crates under it.
pub(super) fn write(parts: &[Part]) -> Result<String> {
    let mut out =
        "netqueue is under the MIT licence or the Apache License 2.0, as you choose. Linked into it are:\n\n"
            .to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.is_foreign()) {
        let shown = format!("{} {}", part.name, part.version);
        out += &format!("  {shown}: {}\n", part.licence);
        for text in terms(&part.folder).with_context(|| format!("the licence of {shown} cannot be read"))? {
            texts.entry(text).or_default().push(shown.clone());
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, owners)| (owners.join(", "), text)).collect();
    texts.sort();
    for (owners, text) in texts {
        out += &format!("\n{}\n{owners}\n\n{text}\n", "-".repeat(72));
    }
    Ok(out)
}

/// Reads the licence texts beside a crate's manifest.
fn terms(folder: &Path) -> Result<Vec<String>> {
    let mut files: Vec<_> = fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        file.is_file() && NAMES.iter().any(|known| name.starts_with(known))
    });
    files.sort();
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).trim_end().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_two_crates_share_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let part = |name: &str| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("LICENSE-MIT"), "Permission is granted\n").unwrap();
            fs::write(folder.join("lib.rs"), "code").unwrap();
            let (name, version) = (name.to_owned(), "1.0.0".to_owned());
            Part { name, version, licence: "MIT".to_owned(), checksum: Some("ff".to_owned()), folder }
        };
        let text = write(&[part("one"), part("two")]).unwrap();
        assert_eq!(text.matches("Permission is granted").count(), 1);
        assert!(text.contains("one 1.0.0, two 1.0.0") && !text.contains("code"), "{text}");
    }
}
