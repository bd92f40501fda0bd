//! Installs bpf-linker in the one version whose LLVM is the compiler's own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::process::{self, say};
use crate::workspace::Workspace;

/// 0.10 links with rustc's LLVM; later ones want a system LLVM.
const VERSION: &str = "0.10.4";

/// Makes sure that `target/tools/bin/bpf-linker` is there.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let root = workspace.target("tools");
    let program = root.join("bin/bpf-linker");
    let place = workspace.show(&program);
    if installed(&program).is_some_and(|line| line.split_whitespace().any(|word| word == VERSION)) {
        say("bpf-linker", format_args!("{VERSION} already at {place}"));
        return Ok(());
    }
    say("bpf-linker", format_args!("installing {VERSION}, about a minute"));
    let start = Instant::now();
    let mut cargo = process::cargo(workspace);
    cargo.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--quiet", "--root"]);
    process::run(cargo.arg(&root)).context("bpf-linker cannot be installed")?;
    say("bpf-linker", format_args!("{VERSION} installed at {place} in {} s", start.elapsed().as_secs()));
    Ok(())
}

fn installed(program: &Path) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    process::output(Command::new(program).arg("--version")).ok()
}
