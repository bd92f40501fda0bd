//! Source revision of the binary, for `netqueue_build_info`.
//! A build outside a repository says "unknown".

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    describe_build(manifest.parent().ok_or("the crate lies in a workspace")?);
    Ok(())
}

fn describe_build(root: &Path) {
    let ask = |program: &str, args: &[&str]| {
        let output = Command::new(program).current_dir(root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let say = |name: &str, value: Option<String>| {
        println!("cargo:rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
    };
    // The files whose change means another revision; in a linked work tree they do not lie in .git.
    for part in ["HEAD", "logs/HEAD"] {
        let file = ask("git", &["rev-parse", "--git-path", part]).map(|path| root.join(path));
        if let Some(file) = file.filter(|file| file.exists()) {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    say("NETQUEUE_REVISION", ask("git", &["rev-parse", "--short=12", "HEAD"]));
    say("NETQUEUE_RUSTC", ask(&env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), &["--version"]));
}
