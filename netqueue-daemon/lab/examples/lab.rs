//! The lab alone, for guests whose daemon was built elsewhere: a small binary, quickly built.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Parser;

#[derive(Parser)]
enum Arguments {
    Lab(netqueue_lab::LabArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).is_some_and(|word| word == "record") {
        return Err(Command::new("/bin/netqueue").args(std::env::args().skip(1)).exec().into());
    }
    let Arguments::Lab(arguments) = Arguments::parse();
    netqueue_lab::run(arguments)
}
