//! Rule on where the kernel side may be unsafe.

use super::paths::{code, has_word};
use super::tree::{Text, Tree};

const SOURCES: &str = "netqueue-ebpf/src/";

/// Files that may be unsafe: kernel pointers, patched constants, maps, entry points.
///
/// A folder ends with a slash.
const ALLOWED: [&str; 19] = [
    "read.rs",
    "sock.rs",
    "words.rs",
    "cpu.rs",
    "tally.rs",
    "maps.rs",
    "slots.rs",
    "dropped_ack.rs",
    "reset_flows.rs",
    "netns_generation.rs",
    "mib_baseline.rs",
    "layout.rs",
    "pending_accept.rs",
    "resets.rs",
    "embryonic.rs",
    "cookie_request.rs",
    "traffic.rs",
    "main.rs",
    "hooks/",
];

/// Checks that `unsafe` appears in the allowed files only.
pub(crate) fn unsafe_is_fenced(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for Text { path, text } in tree.rust(SOURCES) {
        let file = path.strip_prefix(SOURCES).unwrap_or(path);
        if ALLOWED
            .iter()
            .any(|allowed| file == *allowed || (allowed.ends_with('/') && file.starts_with(allowed)))
        {
            continue;
        }
        // An attribute such as #[unsafe(link_section)] opens no block.
        let lines = code(text).filter(|(_, line)| has_word(&line.replace("#[unsafe(", "#["), "unsafe"));
        complaints.extend(lines.map(|(line, _)| {
            format!("{path}:{line}: unsafe belongs in {}: put a safe function there", ALLOWED.join(", "))
        }));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(file: &str, text: &str) -> Tree {
        Tree::of(&[(&format!("{SOURCES}{file}"), text)])
    }

    #[test]
    fn unsafe_outside_the_fence_is_found() {
        assert_eq!(unsafe_is_fenced(&tree("emit.rs", "let x = unsafe { *p };")).len(), 1);
        assert!(unsafe_is_fenced(&tree("read.rs", "let x = unsafe { *p };")).is_empty());
        assert!(unsafe_is_fenced(&tree("hooks/rtx_synack.rs", "unsafe { call() }")).is_empty());
    }

    #[test]
    fn talking_about_it_is_fine() {
        let text = "// nothing unsafe here\n#[unsafe(link_section = \"license\")]\nfn unsafe_free() {}\n";
        assert!(unsafe_is_fenced(&tree("emit.rs", text)).is_empty());
    }
}
