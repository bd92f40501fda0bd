//! Scrapes must succeed while clients send half a request, or never read their answer.
//!
//! netqueue is tested, and node_exporter for comparison.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_init::http;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use super::alerting::services::free_port;
use super::tally::Tally;
use crate::process::Running;
use crate::setup::programs::NODE_EXPORTER;
use crate::workspace::Workspace;

/// Connections with half a request.
const HALF_OPEN: usize = 500;
/// Connections that request the page and read a byte now and then.
const SLOW: usize = 100;
/// Scrapes, one after the other.
const SCRAPES: usize = 40;
/// Limit for a scrape, unless this machine is so busy that node_exporter's takes longer.
const LIMIT: Duration = Duration::from_millis(100);
/// Time until the slow readers' pages are made.
const SETTLED: Duration = Duration::from_secs(3);
/// A recording with listeners, drops and resets.
const RECORDING: &str = "netqueue-daemon/tests/recordings/demo-6.12.nqr";

/// Makes one check, and prints node_exporter's figures beside it.
pub(super) fn check(workspace: &Workspace, netqueue: &Path) -> Result<Tally> {
    let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let theirs = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut replay = Command::new(netqueue);
    replay.args(["replay", RECORDING, "--speed", "10", "--web.listen-address", &ours.to_string()]);
    replay.current_dir(workspace.root());
    let mut exporter = Command::new(NODE_EXPORTER.ensure(workspace)?);
    exporter.arg(format!("--web.listen-address={theirs}"));
    let _programs = [Running::start(&mut replay)?, Running::start(&mut exporter)?];
    let (worst, compared) = (crowd("netqueue", ours)?, crowd("node_exporter", theirs)?);
    let passed = worst < LIMIT.max(compared);
    println!(
        "{}  with {HALF_OPEN} half requests and {SLOW} slow readers, netqueue's slowest of {SCRAPES} scrapes takes {} ms",
        if passed { "ok    " } else { "FAILED" },
        worst.as_millis()
    );
    Ok(Tally::of(passed))
}

/// Returns the slowest scrape in the crowd.
fn crowd(name: &str, address: SocketAddr) -> Result<Duration> {
    let start = Instant::now();
    while http::get(address, "/metrics", Duration::from_secs(1)).is_err() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("{name} does not begin to answer at {address}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let alone = scrapes(address)?;
    let whole = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let slow = (0..SLOW).map(|_| ask(address, &whole)).collect::<Result<Vec<_>>>()?;
    let reading = thread::spawn(move || dawdle(slow));
    // Making a hundred pages is work; this test is about clients that do not fetch theirs.
    thread::sleep(SETTLED);
    let half_open = (0..HALF_OPEN).map(|_| ask(address, "GET /metrics HTTP/1.1\r\nHost:"));
    let half_open = half_open.collect::<Result<Vec<_>>>()?;
    let crowded = scrapes(address);
    drop(half_open);
    let _ended = reading.join();
    let crowded = crowded.with_context(|| format!("{name} does not answer in a crowd"))?;
    for (when, times) in [("alone", &alone), ("in a crowd", &crowded)] {
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("        {name} {when}: median {:.1} ms, slowest {:.1} ms", millis(median), millis(slowest));
    }
    Ok(crowded[crowded.len() - 1])
}

/// Returns the time of each scrape, the quickest first.
fn scrapes(address: SocketAddr) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..SCRAPES {
        let start = Instant::now();
        let answer = http::get(address, "/metrics", Duration::from_secs(10))?;
        if answer.status != 200 {
            bail!("/metrics answered {}", answer.status);
        }
        times.push(start.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    times.sort_unstable();
    Ok(times)
}

fn ask(address: SocketAddr, what: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    // A small window is soon full: the server cannot send the rest of its answer.
    setsockopt(&stream, RcvBuf, &2048)?;
    stream.write_all(what.as_bytes())?;
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    Ok(stream)
}

/// Reads a byte of each stream, again and again, for four seconds longer than [`SETTLED`].
fn dawdle(mut streams: Vec<TcpStream>) {
    let start = Instant::now();
    while start.elapsed() < SETTLED + Duration::from_secs(4) {
        for stream in &mut streams {
            // A stream that was cut off has nothing more to read.
            let _ = stream.read(&mut [0]);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
