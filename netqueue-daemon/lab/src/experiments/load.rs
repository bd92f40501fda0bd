//! Traffic from several processes at once: pace, end, and cleanup.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::counters;
use crate::sockets::PATIENCE;
use crate::tcp_table::{State, TcpTable};
use crate::worker::Clients;

const QUIET: Duration = Duration::from_millis(300);
pub(super) const QUIET_WITHIN: Duration = Duration::from_secs(20);

/// Pause of clients for their handshakes, in microseconds.
/// On one CPU, clients that hardly sleep overrun the loopback device's queue: it loses their resets, and
/// half-open requests turn the experiment into a SYN flood.
fn handshake_pause_us() -> u64 {
    match thread::available_parallelism() {
        Ok(cpus) if cpus.get() > 1 => 200,
        _ => 5_000,
    }
}

/// Clients that connect 12 at once for `seconds`, and send nothing.
pub(super) fn clients_in_batches(seconds: u64) -> Clients {
    Clients { batch: 12, pause_us: handshake_pause_us(), first_byte: false, fast_open: false, seconds }
}

/// Waits until the kernel has counted nothing for a while: clients are gone and queues are empty.
pub(super) fn wait_until_quiet() -> Result<()> {
    let start = Instant::now();
    let mut last = counters::of_this_thread()?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        if start.elapsed() > QUIET_WITHIN {
            bail!("the kernel went on counting for {} s after the last client ended", QUIET_WITHIN.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
        let now = counters::of_this_thread()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Repeats a query until it succeeds, because on a busy emulated machine an answer may come too late.
pub(super) fn patiently<T>(ask: impl Fn() -> Result<T>) -> Result<T> {
    const PATIENCE: Duration = Duration::from_secs(90);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
            answered => return answered,
        }
    }
}

/// Processes that are killed when the value is dropped.
#[derive(Default)]
pub(super) struct Processes(pub Vec<Child>);

impl Processes {
    /// Waits until all of them have ended by themselves.
    pub(super) fn wait(&mut self) -> Result<()> {
        for process in &mut self.0 {
            let status = process.wait().context("cannot wait for a connecting process")?;
            if !status.success() {
                bail!("a connecting process ended with {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Both fail only if the process has already ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Waits until the server at `port` has no connection in any of these states.
pub(super) fn wait_until_none(port: u16, states: &[State]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let table = TcpTable::read()?;
        if states.iter().all(|state| table.count(port, *state).servers == 0) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("a connection of port {port} is still {states:?} after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
