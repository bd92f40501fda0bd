//! Starts QEMU so that it never outlives us, and hands its console over line by line.

use std::io::{BufRead, BufReader, Read};
use std::iter;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::setup::QEMU;

/// A guest's hardware.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    /// Processors the guest can grow to, where more than `cpus`: it takes the others for unplugged.
    pub(crate) possible_cpus: Option<u32>,
    pub(crate) memory_mb: u32,
    /// Count instructions: the guest's time stamp counter becomes an instruction count.
    pub(crate) count_instructions: bool,
    /// A port of this host's loopback that leads to a port of the guest.
    pub(crate) forward: Option<Forward>,
    /// Arguments added to the kernel's command line.
    pub(crate) append: Vec<String>,
}

/// `127.0.0.1:host` leads to the guest's `guest`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forward {
    pub(crate) host: u16,
    pub(crate) guest: u16,
}

/// A running guest; dropping it switches it off.
#[derive(Debug)]
pub(crate) struct Guest {
    child: Child,
    lines: Receiver<String>,
}

impl Guest {
    /// Powers a machine on.
    pub(crate) fn start(machine: &Machine, kernel: &Path, initramfs: &Path) -> Result<Self> {
        let mut command = command(machine, kernel, initramfs);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Out of the terminal's reach: Ctrl-C is ours to handle.
        command.process_group(0);
        // SAFETY: between fork and exec this makes one system call (prctl) and allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut child = command.spawn().with_context(|| format!("{QEMU} could not be started"))?;
        let (sender, lines) = channel();
        follow(child.stdout.take(), "", &sender);
        follow(child.stderr.take(), "qemu| ", &sender);
        Ok(Self { child, lines })
    }

    /// The console; it disconnects when the guest is off.
    pub(crate) fn lines(&self) -> &Receiver<String> {
        &self.lines
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // An error means that it is off already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(machine: &Machine, kernel: &Path, initramfs: &Path) -> Command {
    let mut qemu = Command::new(QEMU);
    // Emulated, since a host that refuses kprobes often has no working KVM either. Without cmpxchg16b:
    // with it QEMU 7.2's emulation crashes 6.12 guests under stress.
    qemu.args(["-cpu", "max,-cx16", "-no-reboot", "-nodefaults", "-display", "none", "-serial", "stdio"]);
    let cpus = if machine.count_instructions {
        qemu.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]);
        1
    } else {
        qemu.args(["-accel", "tcg,thread=multi"]);
        machine.cpus
    };
    let processors = match machine.possible_cpus {
        // Each has its own socket: from 6.9 on, a CPU missing in a socket that is there can never be
        // plugged in.
        Some(possible) if possible > cpus => {
            format!("{cpus},maxcpus={possible},sockets={possible},cores=1,threads=1")
        }
        Some(_) | None => cpus.to_string(),
    };
    qemu.args(["-smp", &processors, "-m", &machine.memory_mb.to_string()]);
    match machine.forward {
        Some(Forward { host, guest }) => {
            let user = format!("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{host}-:{guest}");
            qemu.args(["-netdev", &user, "-device", "virtio-net-pci,netdev=n0,romfile="]);
        }
        None => {
            qemu.args(["-nic", "none"]);
        }
    }
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    let usual = "console=ttyS0 quiet panic=-1 oops=panic";
    let command_line: Vec<_> = iter::once(usual).chain(machine.append.iter().map(String::as_str)).collect();
    qemu.arg("-append").arg(command_line.join(" "));
    qemu
}

fn follow(pipe: Option<impl Read + Send + 'static>, prefix: &'static str, to: &Sender<String>) {
    let to = to.clone();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        let mut reader = BufReader::new(pipe);
        let mut raw = Vec::new();
        while reader.read_until(b'\n', &mut raw).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&raw);
            if to.send(format!("{prefix}{}", plain(&line))).is_err() {
                return;
            }
            raw.clear();
        }
    });
}

/// A console line without its line ending and without the firmware's control characters.
fn plain(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut characters = line.trim_end_matches(['\r', '\n']).chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // An escape sequence ends with its first letter.
                let _ = characters.by_ref().find(char::is_ascii_alphabetic);
            }
            '\t' => kept.push(character),
            _ if character.is_control() => {}
            _ => kept.push(character),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(count_instructions: bool) -> Machine {
        Machine {
            cpus: 4,
            possible_cpus: None,
            memory_mb: 512,
            count_instructions,
            forward: None,
            append: Vec::new(),
        }
    }

    #[test]
    fn counting_instructions_needs_one_cpu_in_one_thread() {
        let shown = format!("{:?}", command(&machine(true), Path::new("k"), Path::new("i")));
        assert!(shown.contains("shift=0,sleep=off") && shown.contains("thread=single"), "{shown}");
        assert!(shown.contains(r#""-smp" "1""#), "{shown}");
        let shown = format!("{:?}", command(&machine(false), Path::new("k"), Path::new("i")));
        assert!(shown.contains("thread=multi") && shown.contains(r#""-smp" "4""#), "{shown}");
    }

    #[test]
    fn the_firmwares_escape_sequences_vanish() {
        assert_eq!(plain("\u{1b}c\u{1b}[?7l\u{1b}[2Jinit| hello\r\n"), "init| hello");
    }
}
