//! `netqueue lab cost`: measures the cost of one connection, one dropped SYN, or one data packet.
//! A run with the daemon stopped and one with it attached differ by netqueue's overhead.

mod work;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use netqueue_domain::{AttachWay, Features};
use netqueue_kernel::{NoopProbes, RunTime, RunTimes};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use self::work::{Prepared, Work};
use super::netns::Netns;
use super::sys;

/// Repetitions per batch; a batch in which another task had the CPU does not count.
const BATCH: u32 = 50;
/// Maximum number of cycles.
/// Each leaves a port in TIME_WAIT, and the search among too many would be measured too.
const MOST_CYCLES: u32 = 10_000;

/// The arguments of `netqueue lab cost`.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    /// Work to measure; may be given several times
    #[arg(long = "of", value_enum, value_name = "WHAT", default_values_t = [Work::Cycle])]
    of: Vec<Work>,
    /// Number of repetitions, in batches of 50, after a warm-up
    #[arg(long, value_name = "N", default_value_t = 4000,
        value_parser = clap::value_parser!(u32).range(i64::from(BATCH)..=i64::from(MOST_CYCLES)))]
    cycles: u32,
    /// Attaches programs that do nothing in place of netqueue's: auto, fentry or kprobe; stop the daemon
    /// first
    #[arg(long, value_name = "WAY", value_parser = |way: &str| AttachWay::named(way).ok_or_else(||
        format!("it is none of {}", AttachWay::EXPECTED)))]
    noop_probes: Option<AttachWay>,
    /// With --empty-probes: attaches none at accept(), like the daemon's flag of the same name
    #[arg(long, requires = "noop_probes")]
    no_accept_wait: bool,
    /// Also reports the run time of each eBPF program that ran at least once per repetition; this
    /// accounting adds to the measured cost
    #[arg(long)]
    by_program: bool,
    /// Prints one JSON object per measurement, each on a line of its own
    #[arg(long)]
    json: bool,
}

/// The cost of one repetition of a kind of work.
#[derive(Debug, Serialize)]
struct Cost {
    of: &'static str,
    /// Median of all batches that count.
    median: f64,
    /// Minimum of all batches that count: the one least disturbed.
    minimum: f64,
    unit: &'static str,
    batches: u32,
    cycles_per_batch: u32,
    /// Repetitions in total, including the warm-up and batches that do not count.
    done: u64,
    /// True if the kernel accounted the run times of programs meanwhile, which adds to the cost.
    by_program: bool,
}

/// Measures each kind of work and prints the results.
pub(super) fn run(args: &CostArgs) -> Result<ExitCode> {
    let batches = args.cycles / BATCH;
    let features = Features { accept_wait: !args.no_accept_wait, ..Features::default() };
    let _attached = args.noop_probes.map(|way| NoopProbes::attach(way, features)).transpose()?;
    let run_times = args.by_program.then(RunTimes::count).transpose()?;
    for work in args.of.iter().copied() {
        let netns = Netns::create()?;
        let before = run_times.as_ref().map(RunTimes::read).unwrap_or_default();
        let cost = Cost { by_program: args.by_program, ..netns.run(move || measure(work, batches))? };
        let after = run_times.as_ref().map(RunTimes::read).unwrap_or_default();
        let mut out = io::stdout().lock();
        if args.json {
            serde_json::to_writer(&mut out, &cost)?;
            writeln!(out)?;
        } else {
            let Cost { median, minimum, unit, batches, cycles_per_batch, .. } = cost;
            writeln!(
                out,
                "{}: {median:.0} {unit} (median), {minimum:.0} (minimum) of {batches} batches of {cycles_per_batch}",
                work.in_words(),
            )?;
        }
        for program in ran(work, args.cycles, &before, &after) {
            if args.json {
                serde_json::to_writer(&mut out, &program)?;
                writeln!(out)?;
            } else {
                let ProgramCost { program, name, runs, nanos, .. } = program;
                writeln!(out, "  program {program} {name}: {nanos:.1} ns each of {runs} runs")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The run time of one eBPF program for one kind of work.
#[derive(Debug, PartialEq, Serialize)]
struct ProgramCost {
    of: &'static str,
    /// The kernel's ID of the program, because names are cut after 15 letters.
    program: u32,
    name: String,
    runs: u64,
    /// Average run time in nanoseconds.
    nanos: f64,
}

/// The programs that ran at least `least` times between two readings.
fn ran(work: Work, least: u32, before: &Programs, after: &Programs) -> Vec<ProgramCost> {
    let cost = |(number, (name, now)): (&u32, &(String, RunTime))| {
        let earlier = before.get(number).map_or((0, 0), |(_, earlier)| (earlier.runs, earlier.nanos));
        let (runs, nanos) = (now.runs.saturating_sub(earlier.0), now.nanos.saturating_sub(earlier.1));
        let each = nanos as f64 / runs as f64;
        (runs >= u64::from(least.max(1))).then(|| ProgramCost {
            of: work.as_str(),
            program: *number,
            name: name.clone(),
            runs,
            nanos: each,
        })
    };
    after.iter().filter_map(cost).collect()
}

type Programs = BTreeMap<u32, (String, RunTime)>;

/// Measures one kind of work in the calling thread's network namespace.
fn measure(work: Work, batches: u32) -> Result<Cost> {
    let mut prepared = work.prepare()?;
    stay_on_this_cpu()?;
    wait_until_alone()?;
    for _ in 0..work.warm_up() {
        batch(&mut prepared)?;
    }
    let mut spent = Vec::new();
    for _ in 0..most_tries(batches) {
        let (ticks, alone) = alone(|| batch(&mut prepared))?;
        if alone {
            spent.push(ticks?);
        }
        if spent.len() == batches as usize {
            prepared.check()?;
            let each = |ticks: u64| ticks as f64 / f64::from(BATCH * work.contained());
            return Ok(Cost {
                of: work.as_str(),
                median: each(median(&mut spent)),
                minimum: each(spent.iter().min().copied().unwrap_or(0)),
                unit: sys::TICKS,
                batches,
                cycles_per_batch: BATCH,
                done: prepared.done() * u64::from(work.contained()),
                by_program: false,
            });
        }
    }
    bail!(
        "another task had the CPU in most of {} batches: what is measured would be its cost, too",
        most_tries(batches)
    )
}

/// Maximum number of batches to try in order to get `batches` undisturbed ones.
/// A daemon that has work to do stays busy for longer than some batches take.
fn most_tries(batches: u32) -> u32 {
    (10 * batches).min(MOST_CYCLES / BATCH).max(2 * batches)
}

/// Waits until other tasks leave this CPU alone: a freshly booted kernel initialises for a while.
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

/// Runs `work`, and returns whether this thread had the CPU for at least 95 % of the time.
/// The kernel's own threads take the CPU for a moment in every batch to finish the work that connections left
/// to them: that is part of the cost.
fn alone<T>(work: impl FnOnce() -> T) -> Result<(T, bool)> {
    const NEARLY_ALL: f64 = 0.95;
    let clock = |id| Ok::<_, anyhow::Error>(Duration::from(clock_gettime(id)?));
    let (started, used) = (clock(ClockId::CLOCK_MONOTONIC)?, clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
    let done = work();
    let used = clock(ClockId::CLOCK_THREAD_CPUTIME_ID)?.saturating_sub(used);
    let elapsed = clock(ClockId::CLOCK_MONOTONIC)?.saturating_sub(started);
    Ok((done, used >= elapsed.mul_f64(NEARLY_ALL)))
}

/// Pins the thread to its CPU: time stamp counters of two CPUs may differ, and caches must stay warm.
fn stay_on_this_cpu() -> Result<()> {
    let mut here = CpuSet::new();
    here.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &here).context("cannot stay on one CPU")
}

/// Times a batch.
/// Nothing in it waits: on loopback all work is done when the system call returns.
fn batch(prepared: &mut Prepared) -> Result<u64> {
    let start = sys::ticks();
    for _ in 0..BATCH {
        prepared.once()?;
    }
    Ok(sys::ticks().wrapping_sub(start))
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
        assert_eq!(median(&mut quiet), 5050);
    }

    #[test]
    fn programs_that_ran_for_something_else_are_left_out() {
        let time = |runs, nanos| ("tcp_v4_conn_req".to_owned(), RunTime { runs, nanos });
        let before = BTreeMap::from([(3, time(100, 9_000)), (4, time(7, 70))]);
        let after = BTreeMap::from([(3, time(1_100, 79_000)), (4, time(9, 90)), (5, time(1_000, 50_000))]);
        let costs = ran(Work::Cycle, 1_000, &before, &after);
        let told: Vec<_> = costs.iter().map(|cost| (cost.program, cost.runs, cost.nanos)).collect();
        assert_eq!(told, [(3, 1_000, 70.0), (5, 1_000, 50.0)]);
    }

    #[test]
    fn the_clock_runs_forward() {
        let start = sys::ticks();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(sys::ticks() > start);
    }
}
