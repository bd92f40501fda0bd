//! Runs the daemon in a guest with a demonstration load, reachable on this host's loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_init::http;
use guest_init::job::Step;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Options;
use crate::vm::kernels;
use crate::vm::{self, Boot, Forward, Limits, Machine, Outcome, Payload};
use crate::workspace::Workspace;

/// Addresses that QEMU's user network gives to the guest and its gateway.
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Interval between two checks whether the daemon answers.
const ASK: Duration = Duration::from_millis(500);

/// Runs the guest until a signal stops it; a guest that ends by itself is an error.
pub(crate) fn run(workspace: &Workspace, options: &Options, address: SocketAddr) -> Result<ExitCode> {
    let row = kernels::row(&options.kernel)?;
    let payload = Payload::build(workspace, options.binary.clone())?;
    let boot = Boot {
        kernel: kernels::ensure(workspace, row)?,
        machine: Machine {
            cpus: options.smp,
            possible_cpus: None,
            memory_mb: options.memory_mb,
            count_instructions: false,
            forward: Some(Forward { host: address.port(), guest: vm::PORT }),
            append: Vec::new(),
        },
        limits: Limits { init: vm::INIT_LIMIT, whole: Duration::MAX },
        job: demonstration(&options.arguments),
        verbose: options.verbose,
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals cannot be handled")?;
    }
    let package = boot.kernel.package.clone();
    let mut greeter = Greeter { address, package, last: Instant::now(), greeted: false };
    let report = boot.until_stopped(workspace, &payload, || {
        greeter.look();
        stop.load(Ordering::Relaxed)
    })?;
    let Some(report) = report else {
        println!("run: stopped, the guest is off");
        return Ok(ExitCode::SUCCESS);
    };
    match &report.outcome {
        Outcome::Passed => bail!("the demonstration ended by itself; its console is at {}", report.console),
        Outcome::Failed(reason) | Outcome::DiedEarly(reason) => {
            bail!("the guest ended: {reason}; its console is at {}", report.console)
        }
    }
}

/// Step that configures the guest's network card for QEMU's user network.
pub(crate) const fn network() -> Step {
    Step::Network { address: GUEST, prefix: 24, gateway: GATEWAY }
}

fn demonstration(arguments: &[String]) -> Vec<Step> {
    // The guest can be reached from this host's loopback only.
    let mut daemon = vm::netqueue([
        "daemon",
        "--web.allow-unauthenticated",
        "--web.listen-address",
        &format!("0.0.0.0:{}", vm::PORT),
    ]);
    daemon.extend(arguments.iter().cloned());
    vec![
        network(),
        Step::Daemon { argv: daemon },
        Step::Ready {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, vm::PORT)),
            path: "/-/ready".to_owned(),
            within: Duration::from_secs(90),
        },
        Step::Run { argv: vm::netqueue(["lab", "demo"]) },
    ]
}

/// State of the message, printed once, that the daemon answers.
struct Greeter {
    address: SocketAddr,
    package: String,
    last: Instant,
    greeted: bool,
}

impl Greeter {
    fn look(&mut self) {
        if self.greeted || self.last.elapsed() < ASK {
            return;
        }
        self.last = Instant::now();
        let ready = http::get(self.address, "/-/ready", Duration::from_secs(1));
        if !ready.is_ok_and(|answer| answer.status == 200) {
            return;
        }
        self.greeted = true;
        let address = self.address;
        println!("run: netqueue answers at http://{address} from a guest with {}", self.package);
        println!("run: try  curl -s http://{address}/metrics | grep netqueue_listen_drops_total");
        println!("run: Ctrl-C stops it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_in_the_guest_listens_where_the_forward_leads() {
        let job = demonstration(&["--log.level".to_owned(), "debug".to_owned()]);
        assert!(job.iter().any(|step| matches!(step, Step::Daemon { argv }
            if argv.contains(&"0.0.0.0:10124".to_owned()) && argv.ends_with(&["debug".to_owned()]))));
    }
}
