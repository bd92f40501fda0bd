//! Sysctls that decide over a listener, as evidence.

/// Sysctls of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysctlValues {
    /// net.core.somaxconn
    pub somaxconn: Option<u32>,
    /// net.ipv4.tcp_max_syn_backlog
    pub max_syn_backlog: Option<u32>,
    /// net.ipv4.tcp_syncookies
    pub syncookies: Option<u32>,
    /// net.ipv4.tcp_abort_on_overflow
    pub abort_on_overflow: Option<u32>,
    /// net.ipv4.tcp_synack_retries
    pub synack_retries: Option<u32>,
    /// net.ipv4.tcp_migrate_req
    pub migrate_req: Option<u32>,
}
