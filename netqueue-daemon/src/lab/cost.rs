//! `netqueue lab cost`: what one connection costs this machine, so that a run with the daemon stopped and one with it
//! attached tell what netqueue adds.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use super::netns::Netns;
use super::{sys, sysctl};

/// Cycles that are timed together; a batch in which another task had the CPU does not count.
const BATCH: u32 = 50;
/// Batches that only fill caches and let the kernel finish what was put off.
const WARM_UP: u32 = 10;
/// Each cycle leaves a port in TIME_WAIT; a search among too many of them would be measured, too.
const MOST_CYCLES: u32 = 10_000;
/// More sockets than can be in TIME_WAIT here; the kernel's own limit depends on the machine's memory.
const MAX_TW_BUCKETS: u64 = 1 << 18;

/// The arguments of `netqueue lab cost`.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// How many cycles are timed, in batches of 50; 500 more warm up before
    #[arg(long, value_name = "N", default_value_t = 4000,
        value_parser = clap::value_parser!(u32).range(i64::from(BATCH)..=i64::from(MOST_CYCLES)))]
    cycles: u32,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// What a cycle costs.
#[derive(Debug, Serialize)]
struct Cost {
    /// Of the middle one of all batches, per cycle.
    median: f64,
    /// Of the batch least disturbed, per cycle.
    minimum: f64,
    unit: &'static str,
    batches: u32,
    cycles_per_batch: u32,
}

/// Measures, and prints what was measured.
pub(super) fn run(args: &CostArgs) -> Result<ExitCode> {
    let batches = args.cycles / BATCH;
    let netns = Netns::create()?;
    let cost = netns.run(move || measure(batches))?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &cost)?;
        writeln!(out)?;
    } else {
        let Cost { median, minimum, unit, batches, cycles_per_batch } = cost;
        writeln!(
            out,
            "one connect, accept and close on loopback: {median:.0} {unit} (median), {minimum:.0} (minimum) of {batches} batches \
             of {cycles_per_batch}"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures in the calling thread's namespace.
fn measure(batches: u32) -> Result<Cost> {
    sysctl::ensure("ipv4/tcp_max_tw_buckets", MAX_TW_BUCKETS)?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any_port).context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    stay_on_this_cpu()?;
    wait_until_alone()?;
    for _ in 0..WARM_UP {
        batch(&listener, address)?;
    }
    let mut spent = Vec::new();
    for _ in 0..2 * batches {
        let (ticks, alone) = alone(|| batch(&listener, address))?;
        if alone {
            spent.push(ticks?);
        }
        if spent.len() == batches as usize {
            return Ok(Cost {
                median: per_cycle(median(&mut spent)),
                minimum: per_cycle(spent.iter().min().copied().unwrap_or(0)),
                unit: sys::TICKS,
                batches,
                cycles_per_batch: BATCH,
            });
        }
    }
    bail!(
        "another task had the CPU in more than half of the batches: what is measured would be its cost, too"
    )
}

/// Waits for other work to end: a kernel that has just booted goes on initialising for a while.
fn wait_until_alone() -> Result<()> {
    const SPELL: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(30);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let spin = || {
            let spell = Instant::now();
            while spell.elapsed() < SPELL {
                std::hint::spin_loop();
            }
        };
        if alone(spin)?.1 {
            return Ok(());
        }
    }
    bail!(
        "for {} s other tasks had a part of this CPU: a cost measured now would be wrong",
        PATIENCE.as_secs()
    )
}

/// Does `work` and says whether this thread had the CPU nearly all the time. The kernel's own threads take it for a
/// moment in every batch, to finish what connections left to them: that is part of their cost.
fn alone<T>(work: impl FnOnce() -> T) -> Result<(T, bool)> {
    const NEARLY_ALL: f64 = 0.95;
    let clock = |id| Ok::<_, anyhow::Error>(Duration::from(clock_gettime(id)?));
    let (started, used) = (clock(ClockId::CLOCK_MONOTONIC)?, clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    let done = work();
    let used = clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?.saturating_sub(used);
    let elapsed = clock(ClockId::CLOCK_MONOTONIC)?.saturating_sub(started);
    Ok((done, used >= elapsed.mul_f64(NEARLY_ALL)))
}

/// The counters of two CPUs need not agree, and a cold cache is no part of a connection.
fn stay_on_this_cpu() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &here).context("cannot stay on one CPU")
}

/// Times a batch of cycles. Nothing in it waits: over loopback the handshake is done when connect() returns.
fn batch(listener: &TcpListener, address: SocketAddr) -> Result<u64> {
    let start = sys::ticks();
    for _ in 0..BATCH {
        let client = TcpStream::connect(address).context("cannot connect")?;
        let (server, _) = listener.accept().context("cannot accept")?;
        // Always in this order: the client's socket is the one that waits in TIME_WAIT.
        drop(client);
        drop(server);
    }
    Ok(sys::ticks().wrapping_sub(start))
}

fn per_cycle(ticks: u64) -> f64 {
    ticks as f64 / f64::from(BATCH)
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_batch_moves_neither_median_nor_minimum() {
        let mut quiet = [5000, 5050, 5100];
        let mut disturbed = [5000, 5050, 900_000];
        assert_eq!(median(&mut quiet), median(&mut disturbed));
        assert_eq!(per_cycle(median(&mut quiet)), 101.0);
    }

    #[test]
    fn the_clock_runs_forward() {
        let start = sys::ticks();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(sys::ticks() > start);
    }
}
