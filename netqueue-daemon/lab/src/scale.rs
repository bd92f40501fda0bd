//! `netqueue lab scale`: measures the load that a host full of listeners puts on the daemon.
//! Results: memory, duration of an inventory pass, and size and duration of its pages.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use super::client::Server;
use super::netns::Netns;
use super::own_daemon::OwnDaemon;
use super::process::Process;
use super::sockets::{Listener, connect};
use super::{metrics, observation, sysctl};

/// The ports of the listeners, outside of the default range of ephemeral ports.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// First ephemeral port during the measurement, so that no connection takes a listener's port.
const CLIENTS: u16 = 60_000;
/// Descriptors for everything else.
const OTHERS: u64 = 256;
/// Time limit for the daemon to find all listeners.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time limit for the daemon to forget them: twice its retention of listeners that had clients.
const FORGETS: Duration = Duration::from_secs(240);
/// Interval between two polls of the daemon.
const AGAIN: Duration = Duration::from_secs(1);
/// Duration over which the idle daemon is observed and its passes are timed.
const WATCHED: Duration = Duration::from_secs(30);
/// Number of requests per page; the fastest answer counts.
const TIMES: u32 = 5;

/// The arguments of `netqueue lab scale`.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// Number of listeners to open
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(PORTS.end - PORTS.start)))]
    listeners: u16,
    /// Number of listeners that get a connection, and thus counters and distributions of their own
    #[arg(long, value_name = "N", default_value_t = 500)]
    connected: u16,
    /// Number of listeners the daemon can show in its metrics: its --max-series less other namespaces'
    #[arg(long, value_name = "N", default_value_t = usize::MAX)]
    most: usize,
    /// Number of ports to open and close afterwards, a thousand at a time; one in twenty gets a connection
    #[arg(long, value_name = "N", default_value_t = 0)]
    ports: u32,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
    /// The URL of the netqueue daemon
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10124")]
    server: String,
}

/// The measurements before, while, and after the listeners exist.
#[derive(Debug, Serialize)]
struct Scale {
    listeners: u16,
    connected: u16,
    /// Seconds from the last listen() until every listener is in the metrics, with its owner.
    found_after_seconds: f64,
    /// Number of ports opened and closed afterwards.
    ports: u32,
    /// Seconds from the start of a second daemon until it is ready, beside the running one.
    ready_after_seconds: f64,
    /// Seconds from the last close until a scrape has no more lines than before.
    forgotten_after_seconds: f64,
    before: Stand,
    with_all: Stand,
    after: Stand,
}

/// Measurements of the daemon at one time.
#[derive(Debug, Serialize)]
struct Stand {
    /// Resident memory, as the system reports it (VmRSS).
    resident_mib: f64,
    /// The anonymous part of it (RssAnon): excludes the program and the maps shared with the kernel.
    own_mib: f64,
    /// Number of times per second a thread was woken while the daemon was idle.
    wakeups_per_second: f64,
    /// Wake-ups per second by thread name.
    wakeups: BTreeMap<String, f64>,
    /// Duration of one pass over all listeners, without the search for owners.
    pass_ms: f64,
    /// Duration of one search for owners; `None` if there was none meanwhile.
    owners_ms: Option<f64>,
    /// CPU time of the idle daemon, in percent of one CPU.
    cpu_percent: f64,
    metrics: Page,
    series: usize,
    listeners_page: Page,
}

/// A page that the daemon serves.
#[derive(Debug, Serialize)]
struct Page {
    kib: f64,
    /// The fastest of several answers.
    ms: f64,
}

/// Measures and prints the results.
pub(super) fn run(args: &ScaleArgs) -> Result<ExitCode> {
    let server = Server::parse(&args.server)?;
    observation::greet(&server)?;
    let (wanted, connected) = (args.listeners, args.connected);
    // Count each listener, and both ends of a connection to it.
    allow_descriptors(u64::from(wanted) + 2 * u64::from(connected) + OTHERS)?;
    let daemon = Process::serving(&server)?;
    let start = Instant::now();
    drop(OwnDaemon::start(&[])?);
    let ready_after_seconds = start.elapsed().as_secs_f64();
    let netns = Netns::create()?;
    let before = Stand::of(&server, &daemon)?;
    let open = netns.run(move || {
        sysctl::defaults()?;
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{CLIENTS} 65535"))
            .context("the ports connections leave from cannot be set")?;
        let ports = PORTS.take(wanted.into()).zip(0..);
        ports.map(|(port, n)| opened(port, n < connected)).collect::<Result<Vec<_>>>()
    })?;
    let start = Instant::now();
    while found(&server, netns.inode())? < usize::from(wanted).min(args.most) {
        ensure!(
            start.elapsed() < PATIENCE,
            "the daemon has not found all of {wanted} listeners: say --most with its --max-series?"
        );
        thread::sleep(AGAIN);
    }
    let found_after_seconds = start.elapsed().as_secs_f64();
    let with_all = Stand::of(&server, &daemon)?;
    drop(open);
    let ports = args.ports;
    netns.run(move || come_and_go(ports))?;
    let start = Instant::now();
    // A closed listener stays until two scrapes have seen it; one that had clients, also for --keep-closed.
    while metrics::series(&server)? > before.series + metrics::OF_ONE_PLACE {
        ensure!(start.elapsed() < FORGETS, "the daemon still has series of listeners that are closed");
        thread::sleep(AGAIN);
    }
    let forgotten_after_seconds = start.elapsed().as_secs_f64();
    let after = Stand::of(&server, &daemon)?;
    let scale = Scale {
        listeners: wanted,
        connected,
        found_after_seconds,
        ports,
        ready_after_seconds,
        forgotten_after_seconds,
        before,
        with_all,
        after,
    };
    print(&scale, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Opens and closes `ports` ports, a thousand at a time.
fn come_and_go(ports: u32) -> Result<()> {
    const AT_ONCE: u16 = 1000;
    let mut left = ports;
    for first in (PORTS.start..CLIENTS).step_by(AT_ONCE.into()).cycle() {
        let some = u16::try_from(left.min(AT_ONCE.into())).unwrap_or(AT_ONCE);
        if some == 0 {
            break;
        }
        let open: Vec<_> = (0..some).map(|n| opened(first + n, n % 20 == 0)).collect::<Result<_>>()?;
        // Pause long enough for some of them to be found, with or without their owners.
        thread::sleep(AGAIN);
        drop(open);
        left -= u32::from(some);
    }
    Ok(())
}

/// Opens a listener, and a connection through it if `connected`.
fn opened(port: u16, connected: bool) -> Result<impl Send> {
    let listener = Listener::ipv4(port, 16)?;
    let connection = if connected {
        let client = connect(listener.loopback())?;
        Some((client, listener.accept()?))
    } else {
        None
    };
    Ok((listener, connection))
}

/// Counts the living listeners of the namespace whose owner is in the metrics.
fn found(server: &Server, netns: u64) -> Result<usize> {
    let page = metrics::page(server)?;
    let ours = [format!("netns=\"{netns}\""), format!("netns=\"{netns}.")];
    let info = page.lines().filter(|line| line.starts_with("netqueue_listener_info{"));
    let ours = info.filter(|line| ours.iter().any(|ours| line.contains(ours)));
    Ok(ours.filter(|line| !line.contains("process=\"\"")).count())
}

impl Stand {
    fn of(server: &Server, daemon: &Process) -> Result<Self> {
        let first = Counts::of(&metrics::page(server)?)?;
        // Wait until the connection of the scrape is closed and its memory is freed.
        thread::sleep(AGAIN);
        let (woken, cpu, start) = (daemon.switches()?, daemon.cpu()?, Instant::now());
        thread::sleep(WATCHED);
        let (now, cpu, seconds) = (daemon.switches()?, daemon.cpu()? - cpu, start.elapsed().as_secs_f64());
        // A new thread, or the namesake of an ended one, starts at zero.
        let since = |(name, number): (String, u64)| {
            let number = number.saturating_sub(woken.get(&name).copied().unwrap_or(0));
            (number > 0).then_some((name, number as f64 / seconds))
        };
        let wakeups: BTreeMap<_, _> = now.into_iter().filter_map(since).collect();
        let (resident, own) = (daemon.kib("VmRSS:")?, daemon.kib("RssAnon:")?);
        let mut page = metrics::page(server)?;
        // The inventory pauses for long after a long pass.
        while Counts::of(&page)?.passes <= first.passes {
            ensure!(start.elapsed() < PATIENCE, "the inventory has made no pass in {} s", PATIENCE.as_secs());
            thread::sleep(AGAIN);
            page = metrics::page(server)?;
        }
        let last = Counts::of(&page)?;
        let (passes, searches) = (last.passes - first.passes, last.searches - first.searches);
        let (took, owners) = (last.took - first.took, last.owners_took - first.owners_took);
        Ok(Self {
            resident_mib: resident as f64 / 1024.0,
            own_mib: own as f64 / 1024.0,
            wakeups_per_second: wakeups.values().sum(),
            wakeups,
            pass_ms: (took - owners) / passes * 1e3,
            owners_ms: (searches > 0.0).then(|| owners / searches * 1e3),
            cpu_percent: cpu / seconds * 1e2,
            series: metrics::series_on(&page),
            metrics: Page::of(server, "/metrics")?,
            listeners_page: Page::of(server, "/api/v1/listeners")?,
        })
    }
}

impl Page {
    fn of(server: &Server, path: &str) -> Result<Self> {
        let (mut fastest, mut size) = (Duration::MAX, 0);
        for _ in 0..TIMES {
            let start = Instant::now();
            size = server.get(path)?.len();
            fastest = fastest.min(start.elapsed());
        }
        Ok(Self { kib: size as f64 / 1024.0, ms: fastest.as_secs_f64() * 1e3 })
    }
}

/// Counters from the metrics page.
struct Counts {
    passes: f64,
    searches: f64,
    took: f64,
    owners_took: f64,
}

impl Counts {
    fn of(page: &str) -> Result<Self> {
        let value = |series: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok())
                .with_context(|| format!("the metrics page has no {series}"))
        };
        Ok(Self {
            passes: value("netqueue_inventory_passes_total{part=\"all\"}")?,
            searches: value("netqueue_inventory_passes_total{part=\"owners\"}")?,
            took: value("netqueue_inventory_seconds_total{part=\"all\"}")?,
            owners_took: value("netqueue_inventory_seconds_total{part=\"owners\"}")?,
        })
    }
}

fn allow_descriptors(needed: u64) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    let limit = hard.max(needed);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)
        .with_context(|| format!("cannot raise the limit of open files to {limit}"))
}

fn print(scale: &Scale, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, scale)?;
        return Ok(writeln!(out)?);
    }
    let Scale { listeners, connected, found_after_seconds, ports, .. } = scale;
    let Scale { ready_after_seconds, forgotten_after_seconds, before, with_all, after, .. } = scale;
    writeln!(
        out,
        "{listeners} listeners, {connected} of them with a connection, found with their owners {found_after_seconds:.1} s after the last was opened; then \
         {ports} ports opened and closed, of which nothing was left {forgotten_after_seconds:.1} s after the last was closed; a daemon is ready {ready_after_seconds:.2} s \
         after its start"
    )?;
    for (when, stand) in [("before", before), ("with all", with_all), ("closed", after)] {
        let owners = stand.owners_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let woken = stand.wakeups.iter().map(|(thread, number)| format!("{thread} {number:.2}"));
        let woken: Vec<_> = woken.collect();
        writeln!(
            out,
            "{when:9} memory {:.1} MiB, its own {:.1} MiB; idle: CPU {:.2} %, {:.2} wake-ups a second ({}); a pass of the inventory {:.2} ms, a search for owners {owners}; metrics {:.1} KiB, {} \
             series, in {:.1} ms; /api/v1/listeners {:.1} KiB in {:.1} ms",
            stand.resident_mib,
            stand.own_mib,
            stand.cpu_percent,
            stand.wakeups_per_second,
            woken.join(", "),
            stand.pass_ms,
            stand.metrics.kib,
            stand.series,
            stand.metrics.ms,
            stand.listeners_page.kib,
            stand.listeners_page.ms
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_the_metrics_page_and_one_that_lacks_them_is_an_error() {
        let page = "# TYPE x counter\nnetqueue_inventory_passes_total{part=\"all\"} 10\nnetqueue_inventory_passes_total{part=\"owners\"} 2\n\
                    netqueue_inventory_seconds_total{part=\"all\"} 0.5\nnetqueue_inventory_seconds_total{part=\"owners\"} 0.1\n\
                    process_cpu_seconds_total 3\n";
        let counts = Counts::of(page).expect("it has all of them");
        assert_eq!((counts.passes, counts.owners_took), (10.0, 0.1));
        let error = Counts::of("process_cpu_seconds_total 3\n").err().expect("it lacks most");
        assert!(error.to_string().contains("netqueue_inventory_passes_total"));
    }
}
