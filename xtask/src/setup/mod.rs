//! Gets everything a build and a guest need, prints what it did, and does nothing twice.

mod apt;
pub(crate) mod chromium;
mod linker;
pub(crate) mod programs;
pub(crate) mod python;
mod qemu;
mod rust_src;

use anyhow::Result;

use crate::vm::kernels::{self, Row};
use crate::workspace::Workspace;

pub(crate) use qemu::{NAME as QEMU, ensure as ensure_qemu};

/// Gets what builds the eBPF object: the standard library's source and bpf-linker.
pub(crate) fn ensure_toolchain(workspace: &Workspace) -> Result<()> {
    rust_src::ensure(workspace)?;
    linker::ensure(workspace)
}

/// `cargo xtask setup`: gets everything, with the kernels requested.
pub(crate) fn ensure_all(workspace: &Workspace, rows: &[&'static Row]) -> Result<()> {
    ensure_toolchain(workspace)?;
    ensure_qemu()?;
    for row in rows {
        kernels::ensure(workspace, row)?;
    }
    Ok(())
}
