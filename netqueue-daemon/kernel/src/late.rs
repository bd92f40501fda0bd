//! Kernel modules with probed functions: loaded after netqueue has attached, they are not watched.

use std::path::Path;

use super::symbols::Symbols;

/// Module with functions among the probes.
struct Module {
    /// One of its functions.
    function: &'static str,
    /// Path that exists once the module is loaded.
    sign: &'static str,
    /// Consequence of loading it later.
    warning: &'static str,
}

const MODULES: [Module; 2] = [
    Module {
        function: "tcp_v6_syn_recv_sock",
        sign: "/proc/net/if_inet6",
        warning: "IPv6 was loaded after netqueue attached: what its handshakes drop and its resets are not attributed; restart netqueue",
    },
    Module {
        function: "smc_tcp_syn_recv_sock",
        sign: "/sys/module/smc",
        warning: "SMC was loaded after netqueue attached: final ACKs that it drops are not attributed; restart netqueue",
    },
];

/// Modules that were not loaded when everything was attached.
pub(super) struct Late(Vec<&'static Module>);

impl Late {
    /// Selects the modules whose functions the kernel does not list.
    pub(super) fn without(symbols: &Symbols) -> Self {
        Self(MODULES.iter().filter(|module| !symbols.contains(module.function)).collect())
    }

    /// Returns the warnings of those modules that have been loaded since.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|module| Path::new(module.sign).exists()).map(|module| module.warning.to_owned())
    }
}
