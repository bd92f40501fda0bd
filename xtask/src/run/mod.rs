//! `cargo xtask run`: runs the daemon on this host; where it cannot attach, in a guest under load.

mod guest;

mod host;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::build::{self, Flavour};
use crate::vm;
use crate::workspace::Workspace;

pub(crate) use guest::network as guest_network;

/// Arguments of `cargo xtask run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The guest's kernel, by row, if a guest is needed.
    #[arg(long, default_value = "6.12", value_name = "ROW")]
    kernel: String,
    /// The port of 127.0.0.1 that netqueue answers on.
    #[arg(long, default_value_t = vm::PORT)]
    port: u16,
    /// Take a guest even where this host could attach.
    #[arg(long)]
    guest: bool,
    /// The guest's virtual processors.
    #[arg(long, default_value_t = 2)]
    smp: u32,
    /// The guest's memory in MB.
    #[arg(long = "mem", default_value_t = 1024, value_name = "MB")]
    memory_mb: u32,
    /// Show everything the guest's console prints.
    #[arg(long)]
    verbose: bool,
    /// A static binary for the guest instead of a freshly built netqueue.
    #[arg(long, value_name = "FILE")]
    binary: Option<std::path::PathBuf>,
    /// More arguments for `netqueue daemon`.
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// Runs netqueue until it is stopped.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    ensure_free(address)?;
    let obstacles = host::obstacles();
    if obstacles.is_empty() && !options.guest {
        println!("run: this host can attach; netqueue daemon starts here on {address}");
        let binary = build::netqueue(workspace, Flavour::HOST)?;
        return host::become_daemon(&binary, address, &options.arguments);
    }
    for obstacle in &obstacles {
        println!("run: not on this host: {obstacle}");
    }
    println!("run: starting a guest with kernel {} instead", options.kernel);
    guest::run(workspace, options, address)
}

fn ensure_free(address: SocketAddr) -> Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!(
            "{address} cannot be listened on: stop what uses port {}, or choose another with --port",
            address.port()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_the_way_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", ensure_free(address).unwrap_err());
        assert!(error.contains(&address.to_string()) && error.contains("--port"), "{error}");
    }
}
