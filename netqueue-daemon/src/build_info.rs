//! Version, revision and compiler of this binary.

/// Version, revision and compiler of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Release of netqueue.
    pub version: &'static str,
    /// Commit; `unknown` if built outside a repository.
    pub revision: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
}

impl BuildInfo {
    /// Build of this binary.
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
