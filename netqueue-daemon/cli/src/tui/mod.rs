//! `netqueue top`: a running daemon, watched in a terminal.

mod feed;
mod history;
mod keys;
mod model;
mod screen;
mod view;

use std::process::ExitCode;

use clap::Args;

use crate::client_args::DaemonAddress;

/// The arguments of `netqueue top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    #[command(flatten)]
    daemon: DaemonAddress,
    /// Seconds between two polls, from 0.2 to 60
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = feed::period)]
    interval: std::time::Duration,
    /// Initial sort order
    #[arg(short, long, value_enum, value_name = "BY", default_value_t)]
    sort: model::Sort,
    /// Draws with plain ASCII characters
    #[arg(long)]
    ascii: bool,
}

/// Shows the daemon's state until the user quits.
///
/// # Errors
/// Fails if there is no terminal, or if the access options are wrong.
pub fn command(args: TopArgs) -> anyhow::Result<ExitCode> {
    let client = args.daemon.client()?;
    let look = view::Look { ascii: args.ascii || !view::speaks_utf8(), colour: view::wants_colour() };
    let model = model::Model::new(args.daemon.server.to_string(), args.sort);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(screen::run(client, model, args.interval, look))?;
    Ok(ExitCode::SUCCESS)
}
