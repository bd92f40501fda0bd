//! Compiles the kernel side for the BPF target and puts the object where `object.rs` includes it.
//!
//! The object has its own target folder (`target/bpf`), shared by all profiles of this crate. Building it
//! needs the standard library's source and bpf-linker; `cargo xtask setup` gets both.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const OBJECT: &str = "netqueue-ebpf";

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest.ancestors().nth(2).ok_or("the crate lies two folders below its workspace")?;
    for watched in ["netqueue-ebpf/src", "netqueue-ebpf/Cargo.toml", "netqueue-common/src", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let object = build_object(root)?;
    fs::copy(object, PathBuf::from(env::var("OUT_DIR")?).join(OBJECT))?;
    Ok(())
}

fn build_object(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = format!(
        "bpf{}-unknown-none",
        if env::var("CARGO_CFG_TARGET_ENDIAN")? == "big" { "eb" } else { "el" }
    );
    let target_dir = root.join("target/bpf").join(env::var("CARGO_CFG_TARGET_ARCH")?);
    // The verifier's log quotes source lines: with remapped paths they are the same on every machine.
    let sources = [(Some(root.to_owned()), "/netqueue"), (cargo_home(), "/cargo"), (sysroot(), "/rust")];
    let remapped = sources
        .into_iter()
        .filter_map(|(from, to)| from.map(|from| format!("--remap-path-prefix={}={to}", from.display())));
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", env::var("CARGO_CFG_TARGET_ARCH")?),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker(root)?.display()),
    ];
    let flags: Vec<_> = flags.into_iter().chain(remapped).collect();
    let status = Command::new(env::var("CARGO")?)
        .current_dir(root)
        .args(["build", "--locked", "--package", OBJECT, "--profile", "bpf"])
        .args(["--target", &target, "-Z", "build-std=core", "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // Unstable: building the core library, for the BPF target has no compiled one, and two features of
        // netqueue-ebpf/src/main.rs.
        .env("RUSTC_BOOTSTRAP", "1")
        // The outer cargo sets these for its own build.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .status()?;
    if !status.success() {
        return Err(
            "the kernel side did not compile; if the standard library's source or bpf-linker is missing, \
                    run `cargo xtask setup`"
                .into(),
        );
    }
    Ok(target_dir.join(target).join("bpf").join(OBJECT))
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Returns the compiler's own folder, which also contains the standard library's source.
fn sysroot() -> Option<PathBuf> {
    let output = Command::new(env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Finds bpf-linker in set-up's folder, else on the search path.
fn linker(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let own = root.join("target/tools/bin/bpf-linker");
    println!("cargo:rerun-if-changed={}", own.display());
    if own.exists() {
        return Ok(own);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("bpf-linker"))
        .find(|candidate| candidate.exists())
        .ok_or_else(|| {
            "bpf-linker is neither in target/tools/bin nor on the search path; run `cargo xtask setup`".into()
        })
}
