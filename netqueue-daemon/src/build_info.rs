//! What this binary was built from, as every surface states it.

/// Version, revision and compiler of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The release.
    pub version: &'static str,
    /// The commit, `unknown` when built outside a repository.
    pub revision: &'static str,
    /// The compiler.
    pub rustc: &'static str,
}

impl BuildInfo {
    /// This binary's.
    pub const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        revision: known(option_env!("NETQUEUE_REVISION")),
        rustc: known(option_env!("NETQUEUE_RUSTC")),
    };
}

const fn known(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "unknown",
    }
}
