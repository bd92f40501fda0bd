//! Command line of `netqueue`.

use clap::{Parser, Subcommand};

use netqueue_cli::{
    events::{self, EventsArgs},
    exit,
    explain::{self, ExplainArgs},
    listeners::{self, ListenersArgs},
    resets::{self, ResetsArgs},
    status::StatusArgs,
    tui::TopArgs,
};

use super::{
    doctor::DoctorArgs,
    documents::{CompletionsArgs, ManArgs},
    record::{self, RecordArgs},
    replay::ReplayArgs,
};
#[cfg(feature = "lab")]
use netqueue_lab::LabArgs;

use crate::config::DaemonArgs;

/// Attributes the kernel's listen drops and resets to the listener and cause that earned them, exactly
#[derive(Debug, Parser)]
#[command(name = "netqueue", version, propagate_version = true, after_help = exit::HELP)]
pub struct Arguments {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands of `netqueue`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attaches to the kernel and serves metrics and the query API until stopped
    Daemon(Box<DaemonArgs>),
    /// Watches a daemon in the terminal: listeners, queues, causes, events
    Top(TopArgs),
    /// Shows every listener: queues, drops, resets, owner
    #[command(after_help = listeners::HELP)]
    Listeners(ListenersArgs),
    /// Shows single drops and resets
    #[command(after_help = events::HELP)]
    Events(EventsArgs),
    /// Shows who sent resets, and why
    #[command(after_help = resets::HELP)]
    Resets(ResetsArgs),
    /// Explains in words what is the matter, on the host or with one listener, the worst for clients first
    #[command(after_help = explain::HELP)]
    Explain(ExplainArgs),
    /// Shows how well netqueue sees, and whether its sums equal the kernel's
    Status(StatusArgs),
    /// Writes down everything a running daemon observes, to be replayed elsewhere
    #[command(after_help = record::HELP)]
    Record(RecordArgs),
    /// Runs the whole daemon on a recording: needs no privileges and touches no kernel
    Replay(Box<ReplayArgs>),
    /// Reports what netqueue needs from this machine and whether it has it
    Doctor(DoctorArgs),
    /// Provokes real incidents in network namespaces of its own and checks what the running daemon reports
    #[cfg(feature = "lab")]
    Lab(LabArgs),
    /// Prints a completion script for a shell
    Completions(CompletionsArgs),
    /// Prints or writes the manual
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_is_completed_in_every_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "netqueue", &mut script);
            let script = String::from_utf8(script).expect("text");
            for command in Arguments::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_has_a_man_page_that_names_its_flags() {
        let dir = tempfile::tempdir().expect("a folder");
        clap_mangen::generate_to(Arguments::command(), dir.path()).expect("written");
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
        assert!(page("netqueue.1").contains("Exit codes: 0 answered"));
        for command in Arguments::command().get_subcommands().filter(|command| command.get_name() != "help") {
            let page = page(&format!("netqueue-{}.1", command.get_name()));
            let asks = ["events", "explain", "listeners", "record", "resets"].contains(&command.get_name());
            assert_eq!(page.contains("Examples:"), asks, "{page}");
            for flag in command.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(page.replace("\\-", "-").contains(&format!("--{flag}")), "{flag}: {page}");
            }
        }
    }
}
