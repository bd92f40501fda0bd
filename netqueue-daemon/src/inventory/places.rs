//! The network namespaces threads are in, and the ways to them.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    netns::{self, WhoHas},
    visit::Place,
};
use crate::domain::Netns;

/// Every namespace a thread below `proc` is in, with the first such thread as the way to it.
#[must_use]
pub(super) fn search(proc: &Path, who: WhoHas<'_>) -> Vec<Place> {
    let mut found: BTreeMap<Netns, Place> = BTreeMap::new();
    let mut note = |directory: &Path| {
        let file = directory.join("ns/net");
        if let Ok(netns) = netns::of(&file, who) {
            let shown = Some(directory.join("net"));
            found.entry(netns).or_insert(Place { netns, file, shown });
        }
    };
    for process in numbered(proc) {
        note(&process);
        numbered(&process.join("task")).iter().for_each(|thread| note(thread));
    }
    found.into_values().collect()
}

fn numbered(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_number = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    entries.filter(|entry| is_number(&entry.file_name())).map(|entry| entry.path()).collect()
}
