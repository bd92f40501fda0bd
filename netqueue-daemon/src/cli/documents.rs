//! `netqueue completions` and `netqueue man`: generated from the definition of the command line.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `netqueue completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to print the script for
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `netqueue man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Writes a page for every command into this folder, instead of the main page to standard output
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// Prints the completion script for `command`.
pub fn completions(args: CompletionsArgs, mut command: Command) -> ExitCode {
    clap_complete::generate(args.shell, &mut command, "netqueue", &mut io::stdout().lock());
    ExitCode::SUCCESS
}

/// Writes the man pages of `command`.
///
/// # Errors
/// The pages cannot be written.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    match &args.out_dir {
        None => clap_mangen::Man::new(command).render(&mut io::stdout().lock())?,
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            clap_mangen::generate_to(command, dir)
                .with_context(|| format!("cannot write into {}", dir.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
