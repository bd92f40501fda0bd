//! Worker processes of experiments with traffic: this program again, in the experiment's namespace.
//! A thread inside the namespace starts each worker, which therefore lives there and ends with that thread.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use super::cases;
use super::sockets::{self, Listener};

/// Time for which an acceptor continues without pauses, so that its parent sees the end of all traffic.
const LINGER: Duration = Duration::from_secs(60);

/// Time for which a serving process lives at most.
const SERVES: Duration = Duration::from_secs(300);

/// The arguments of `netqueue lab worker`.
#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Accepts from the listener on standard input, too slowly
    Accept(Acceptor),
    /// Accepts from the listener on standard input and keeps every connection
    Keep(Serve),
    /// Serves connections by a script, as the server of a case
    Script(cases::Serve),
    /// Connects and closes, as fast as it can
    Connect {
        #[command(flatten)]
        clients: Clients,
        #[arg(required = true)]
        targets: Vec<SocketAddr>,
    },
}

/// The behaviour of an accepting process.
#[derive(Clone, Debug, Args)]
pub(super) struct Acceptor {
    /// Pause after each connection, in milliseconds
    #[arg(long)]
    pub pause_ms: u64,
    /// Seconds with pauses; afterwards it only empties the queue
    #[arg(long)]
    pub seconds: u64,
}

/// The behaviour of a serving process.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Serve {
    /// Limit of open files
    #[arg(long)]
    pub nofile: Option<u64>,
    /// CPU time spent on each connection, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub work_ms: u64,
}

/// The behaviour of a connecting process.
#[derive(Clone, Debug, Args)]
pub(super) struct Clients {
    /// Number of clients that connect at once, before all of them are closed
    #[arg(long)]
    pub batch: usize,
    /// Microseconds for the handshakes of a batch to complete
    #[arg(long)]
    pub pause_us: u64,
    /// Each client sends a byte before it is closed, which completes a deferred handshake
    #[arg(long)]
    pub first_byte: bool,
    /// Each client sends a byte with its SYN
    #[arg(long)]
    pub fast_open: bool,
    #[arg(long)]
    pub seconds: u64,
}

/// Starts a process that accepts from `listener`.
pub(super) fn spawn_acceptor(listener: &Listener, how: Acceptor) -> Result<Child> {
    worker("accept")
        .args(["--pause-ms", &how.pause_ms.to_string(), "--seconds", &how.seconds.to_string()])
        .stdin(Stdio::from(listener.share()?))
        .spawn()
        .context("cannot start an accepting process")
}

/// Starts a process that serves `listener`, and is its only owner once the caller has dropped it.
pub(super) fn spawn_server(listener: &Listener, how: Serve) -> Result<Child> {
    let mut command = worker("keep");
    command.args(["--work-ms", &how.work_ms.to_string()]);
    if let Some(nofile) = how.nofile {
        command.args(["--nofile", &nofile.to_string()]);
    }
    command.stdin(Stdio::from(listener.share()?)).spawn().context("cannot start a serving process")
}

/// Starts a process that connects to `targets`.
pub(super) fn spawn_clients(targets: &[SocketAddr], how: Clients) -> Result<Child> {
    let mut command = worker("connect");
    command.args(["--batch", &how.batch.to_string(), "--pause-us", &how.pause_us.to_string()]);
    command.args(["--seconds", &how.seconds.to_string()]);
    if how.first_byte {
        command.arg("--first-byte");
    }
    if how.fast_open {
        command.arg("--fast-open");
    }
    command
        .args(targets.iter().map(ToString::to_string))
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start a connecting process")
}

pub(super) fn worker(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["lab", "worker", role]);
    command
}

/// Runs `netqueue lab worker`.
pub(super) fn run(args: &WorkerArgs) -> Result<ExitCode> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the lab")?;
    match &args.role {
        Role::Accept(how) => accept(how)?,
        Role::Keep(how) => serve(*how)?,
        Role::Script(how) => cases::serve(how)?,
        Role::Connect { clients, targets } => connect(clients, targets)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn accept(how: &Acceptor) -> Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let start = Instant::now();
    let slow = Duration::from_secs(how.seconds);
    while start.elapsed() < slow + LINGER {
        // A client that reset its queued connection causes an error here, which is no reason to stop.
        drop(listener.accept());
        if start.elapsed() < slow {
            thread::sleep(Duration::from_millis(how.pause_ms));
        }
    }
    Ok(())
}

fn serve(how: Serve) -> Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    if let Some(nofile) = how.nofile {
        setrlimit(Resource::RLIMIT_NOFILE, nofile, nofile).context("cannot set the limit of open files")?;
    }
    let (start, mut kept) = (Instant::now(), Vec::new());
    while start.elapsed() < SERVES {
        match listener.accept() {
            Ok(connection) => kept.push(connection),
            // No descriptor is left, and none will be.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
        work(Duration::from_millis(how.work_ms))?;
    }
    Ok(())
}

/// Uses the CPU for a while, as many ticks of its own time as that takes.
fn work(time: Duration) -> Result<()> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = used()? + time;
    while used()? < end {}
    Ok(())
}

fn connect(how: &Clients, targets: &[SocketAddr]) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(how.seconds);
    let mut targets = targets.iter().cycle();
    while Instant::now() < end {
        let mut clients = Vec::with_capacity(how.batch);
        for target in targets.by_ref().take(how.batch) {
            let client = if how.fast_open {
                sockets::connect_fast_open(*target)?
            } else {
                sockets::connect_nonblocking(*target)?
            };
            // Closing resets the connection: no retransmission outlives the process, and no port waits in
            // TIME_WAIT.
            client.set_linger(Some(Duration::ZERO))?;
            clients.push(client);
        }
        thread::sleep(Duration::from_micros(how.pause_us));
        if how.first_byte {
            for client in &clients {
                // A client whose SYN was dropped cannot send.
                let _ = sockets::send_byte(client);
            }
        }
    }
    Ok(())
}
