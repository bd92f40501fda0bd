//! Drops in thousands of pairs of network namespace and CPU.
//! An ordinary Kubernetes node has as many: 64 namespaces on 128 CPUs.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::expectation::{Expectation, Experiment, Fixture, Scenario};
use crate::netns::Netns;
use crate::observation;
use crate::sockets::{Listener, connect_nonblocking};
use crate::sysctl;
use crate::verdict::Skip;

pub(super) const MANY: Experiment = Experiment {
    number: "86",
    name: "many-namespaces",
    incident: "1,100 network namespaces in which a listener drops one SYN on each of 8 CPUs",
    verdict: "8,800 drops, each charged in its namespace, and no residual in any",
    provoke: Scenario::Watching(many),
};

const NAMESPACES: usize = 1100;
const CPUS: usize = 8;

fn many(fixture: &Fixture<'_>) -> Result<Expectation> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    if cpus < CPUS {
        return Err(Skip::because(format!("it takes {CPUS} CPUs, and here are {cpus}")));
    }
    let mut namespaces = Vec::new();
    for _ in 0..NAMESPACES {
        let netns = Netns::create()?;
        let open = netns.run(move || drop_on_each_cpu(cpus))?;
        namespaces.push((netns, open));
    }
    let mut expectation = Expectation::default();
    if let Some(server) = fixture.server {
        // The daemon compares a few more namespaces each second.
        const COMPARED_WITHIN: Duration = Duration::from_secs(45);
        thread::sleep(COMPARED_WITHIN);
        let inodes: BTreeSet<_> = namespaces.iter().map(|(netns, _)| netns.inode()).collect();
        let status: Value = observation::status(server)?;
        let balances = status["reconciliation"].as_array().context("no reconciliation")?;
        let of_ours = balances.iter().filter(|balance| {
            balance["state"] == "alive"
                && balance["netns_inode"].as_u64().is_some_and(|inode| inodes.contains(&inode))
        });
        let (mut compared, mut attributed, mut inexact) = (0, 0, 0);
        for balance in of_ours {
            compared += 1;
            attributed += balance["counters"]["ListenDrops"]["attributed"].as_u64().unwrap_or(0);
            inexact += u64::from(balance["exact"].as_bool() != Some(true));
        }
        let all = NAMESPACES * cpus;
        expectation
            .measured
            .push(format!("{attributed} of {all} drops in {compared} namespaces, {inexact} not exact"));
        if attributed != all as u64 || inexact != 0 {
            expectation.problems.push(format!("{}", status["events"]["lost"]));
        }
    }
    expectation.open.push(Box::new(namespaces));
    Ok(expectation)
}

type Open = (Listener, Vec<socket2::Socket>);

fn drop_on_each_cpu(cpus: usize) -> Result<Open> {
    sysctl::defaults()?;
    let listener = Listener::ipv4(8066, 0)?;
    let mut clients = listener.fill(1, false)?;
    for cpu in 0..cpus {
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &only)?;
        // The first SYN is dropped; a closed client sends no other.
        drop(connect_nonblocking(listener.loopback())?);
    }
    clients.shrink_to_fit();
    Ok((listener, clients))
}
