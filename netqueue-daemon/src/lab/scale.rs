//! `netqueue lab scale`: what a host full of listeners costs the daemon: memory, a pass of its inventory, and what its pages
//! weigh and take.

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

/// The first port, and one more than the last, outside of those that connections leave from by default.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// Connections leave from this port on: none of them is in the way of a listener.
const CLIENTS: u16 = 60_000;
/// Descriptors for everything else.
const OTHERS: u64 = 256;
/// How long the daemon may take to find all of them.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to forget them: twice as long as it keeps what had clients.
const FORGETS: Duration = Duration::from_secs(240);
/// Between two looks whether it has.
const AGAIN: Duration = Duration::from_secs(1);
/// It is watched idling, and passes are timed, over so long.
const WATCHED: Duration = Duration::from_secs(30);
/// Pages are asked for so often; the fastest answer counts.
const TIMES: u32 = 5;

/// The arguments of `netqueue lab scale`.
#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// How many listeners are opened
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(PORTS.end - PORTS.start)))]
    listeners: u16,
    /// Through how many of them a connection goes: these have counts and distributions of their own
    #[arg(long, value_name = "N", default_value_t = 500)]
    connected: u16,
    /// How many of them the daemon may show in its metrics: its --max-series, and how many it shows of other namespaces less
    #[arg(long, value_name = "N", default_value_t = usize::MAX)]
    most: usize,
    /// How many ports are then opened and closed again, a thousand at a time; through one of twenty a connection goes
    #[arg(long, value_name = "N", default_value_t = 0)]
    ports: u32,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
    /// Where the netqueue daemon listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10124")]
    server: String,
}

/// What is measured: before, while, and after the listeners are there.
#[derive(Debug, Serialize)]
struct Scale {
    listeners: u16,
    connected: u16,
    /// From the last listen() until each of them is in the metrics, with its owner.
    found_after_seconds: f64,
    /// How many ports were opened and closed after that.
    ports: u32,
    /// From the start of a daemon until it is ready, this one running beside.
    ready_after_seconds: f64,
    /// From the last close until a scrape shows no more lines than before.
    forgotten_after_seconds: f64,
    before: Stand,
    with_all: Stand,
    after: Stand,
}

/// How the daemon stands.
#[derive(Debug, Serialize)]
struct Stand {
    /// RSS, as the system shows it.
    resident_mib: f64,
    /// Of that its own memory, neither its program nor the maps it shares with the kernel (RssAnon).
    own_mib: f64,
    /// Times one of its threads was woken in a second in which nobody asked anything.
    wakeups_per_second: f64,
    /// The same by the names of its threads.
    wakeups: BTreeMap<String, f64>,
    /// One pass over all listeners, owners left out.
    pass_ms: f64,
    /// One search for owners; `None` if there was none meanwhile.
    owners_ms: Option<f64>,
    /// Of one CPU, everything the daemon does while nobody asks anything.
    cpu_percent: f64,
    metrics: Page,
    series: usize,
    listeners_page: Page,
}

/// A page the daemon serves.
#[derive(Debug, Serialize)]
struct Page {
    kib: f64,
    /// The fastest of some answers.
    ms: f64,
}

/// Measures, and prints what was measured.
pub(super) fn run(args: &ScaleArgs) -> Result<ExitCode> {
    let server = Server::parse(&args.server)?;
    observation::greet(&server)?;
    let (wanted, connected) = (args.listeners, args.connected);
    // Each listener, and both ends of a connection to it.
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
    // What is closed stays until it was scraped twice; what had clients, for --keep-closed beside.
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

/// Opens and closes so many ports.
fn come_and_go(ports: u32) -> Result<()> {
    const AT_ONCE: u16 = 1000;
    let mut left = ports;
    for first in (PORTS.start..CLIENTS).step_by(AT_ONCE.into()).cycle() {
        let some = u16::try_from(left.min(AT_ONCE.into())).unwrap_or(AT_ONCE);
        if some == 0 {
            break;
        }
        let open: Vec<_> = (0..some).map(|n| opened(first + n, n % 20 == 0)).collect::<Result<_>>()?;
        // Long enough for some of them to be found, with their owners or without.
        thread::sleep(AGAIN);
        drop(open);
        left -= u32::from(some);
    }
    Ok(())
}

/// A listener, and a connection through it if there is to be one.
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

/// Listeners of the namespace that live and whose owner is in the metrics.
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
        // The connection that asked is closed, and what was taken to answer given back.
        thread::sleep(AGAIN);
        let (woken, cpu, start) = (daemon.switches()?, daemon.cpu()?, Instant::now());
        thread::sleep(WATCHED);
        let (now, cpu, seconds) = (daemon.switches()?, daemon.cpu()? - cpu, start.elapsed().as_secs_f64());
        // A thread that was not there before, or another of the same name that ended, begins at nothing.
        let since = |(name, number): (String, u64)| {
            let number = number.saturating_sub(woken.get(&name).copied().unwrap_or(0));
            (number > 0).then_some((name, number as f64 / seconds))
        };
        let wakeups: BTreeMap<_, _> = now.into_iter().filter_map(since).collect();
        let (resident, own) = (daemon.kib("VmRSS:")?, daemon.kib("RssAnon:")?);
        let mut page = metrics::page(server)?;
        // After a pass that took long it rests for long.
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

/// What the metrics count.
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
