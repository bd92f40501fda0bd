//! apt as root, through sudo where this user is not root.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::process;

/// Builds an `apt-get` call that brings `package` and asks no questions.
pub(super) fn command(package: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = if Uid::effective().is_root() {
        Command::new("apt-get")
    } else if process::on_path("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    } else {
        bail!("this user may not install {package}: run `apt-get install {package}` as root, or have sudo");
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    Ok(command)
}
