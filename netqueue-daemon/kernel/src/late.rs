//! Parts of the kernel that are modules, and may be loaded when everything is attached already: nothing of theirs is watched then.

use std::path::Path;

use super::symbols::Symbols;

/// A module that has functions among the probes.
struct Module {
    /// One of them.
    function: &'static str,
    /// What is there when it is loaded.
    sign: &'static str,
    /// What its being loaded later means.
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

/// Modules that were not there when everything was attached.
pub(super) struct Late(Vec<&'static Module>);

impl Late {
    /// Those without symbols.
    pub(super) fn without(symbols: &Symbols) -> Self {
        Self(MODULES.iter().filter(|module| !symbols.contains(module.function)).collect())
    }

    /// What those mean that are there by now.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|module| Path::new(module.sign).exists()).map(|module| module.warning.to_owned())
    }
}
