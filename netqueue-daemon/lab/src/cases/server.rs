//! Servers of cases: a process with a name, a listener, and a script for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{sys, worker};

/// A TLS record with an alert, as long as an encrypted close_notify.
pub(crate) const CLOSE_NOTIFY: [u8; 24] =
    [0x15, 3, 3, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Pause of a server after an accept() that failed, as event loops of real servers have.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// One action of a server on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Reads once, at most this many bytes.
    Read(usize),
    /// Sends a short response.
    Reply,
    /// Sends a TLS alert.
    Alert,
    /// Waits this many milliseconds.
    Wait(u64),
    /// Reads until the peer closes.
    Drain,
    /// Sends a FIN and keeps the socket.
    Finish,
    /// Closes with a reset.
    Reset,
    /// Starts again with the first action.
    Again,
    /// Keeps the connection until the process ends.
    Hold,
}

impl FromStr for Act {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, number) = text.split_once('=').unwrap_or((text, "0"));
        let number = number.parse().map_err(|_| format!("{text}: expected a number after ="))?;
        Ok(match word {
            "read" => Self::Read(number as usize),
            "reply" => Self::Reply,
            "alert" => Self::Alert,
            "wait" => Self::Wait(number),
            "drain" => Self::Drain,
            "finish" => Self::Finish,
            "reset" => Self::Reset,
            "again" => Self::Again,
            "hold" => Self::Hold,
            _ => return Err(format!("{word}: no such action")),
        })
    }
}

impl Act {
    fn word(self) -> String {
        match self {
            Self::Read(most) => format!("read={most}"),
            Self::Reply => "reply".to_owned(),
            Self::Alert => "alert".to_owned(),
            Self::Wait(time) => format!("wait={time}"),
            Self::Drain => "drain".to_owned(),
            Self::Finish => "finish".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Again => "again".to_owned(),
            Self::Hold => "hold".to_owned(),
        }
    }
}

/// The behaviour of a server. A connection is closed after the last action.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// Name of the process, as `ps` shows it
    #[arg(long)]
    pub name: String,
    #[arg(long)]
    pub listen: SocketAddr,
    #[arg(long, default_value_t = 128)]
    pub backlog: i32,
    /// Number of connections served at once; 0 for any number
    #[arg(long, default_value_t = 0)]
    pub workers: u32,
    /// Number of connections after which it accepts no more, and lives on; 0 for any number
    #[arg(long, default_value_t = 0)]
    pub accepts: u32,
    /// Limit of open files; 0 for the inherited one
    #[arg(long, default_value_t = 0)]
    pub open_files: u64,
    /// Number of sockets that share the port with SO_REUSEPORT; 0 for one that does not share it
    #[arg(long, default_value_t = 0)]
    pub group: u32,
    /// Refuses IPv4 on an IPv6 address
    #[arg(long)]
    pub only_v6: bool,
    /// Defers accept() until the client's first data
    #[arg(long)]
    pub deferred: bool,
    /// Actions on each connection
    #[arg(long, value_delimiter = ',')]
    pub acts: Vec<Act>,
}

impl Serve {
    /// A server that takes any number of connections and does these things on each.
    pub(super) fn new(name: &str, listen: impl Into<SocketAddr>, acts: &[Act]) -> Self {
        Self {
            name: name.to_owned(),
            listen: listen.into(),
            backlog: 128,
            workers: 0,
            accepts: 0,
            open_files: 0,
            group: 0,
            only_v6: false,
            deferred: false,
            acts: acts.to_vec(),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let acts: Vec<_> = self.acts.iter().map(|act| act.word()).collect();
        let valued = [
            ("--name", self.name.clone()),
            ("--listen", self.listen.to_string()),
            ("--backlog", self.backlog.to_string()),
            ("--workers", self.workers.to_string()),
            ("--accepts", self.accepts.to_string()),
            ("--open-files", self.open_files.to_string()),
            ("--group", self.group.to_string()),
            // An empty value would be one action without a name.
            ("--acts", acts.join(",")),
        ];
        let valued = valued
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| [name.to_owned(), value]);
        let flags = [("--only-v6", self.only_v6), ("--deferred", self.deferred)];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned());
        valued.chain(flags).collect()
    }

    /// Starts the process in the calling thread's namespace and waits until it listens.
    pub(super) fn start(&self) -> Result<Served> {
        let mut child = worker::worker("script")
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let mut said = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut said)?;
        }
        let served = Served(child);
        if said.is_empty() {
            bail!("{} ended before it listened on {}", self.name, self.listen);
        }
        Ok(served)
    }

    fn listener(&self) -> Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(self.listen), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if self.listen.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        socket.set_reuse_port(self.group > 0)?;
        if self.deferred {
            sys::defer_accept(&socket, 30)?;
        }
        socket.bind(&self.listen.into()).with_context(|| format!("cannot bind {}", self.listen))?;
        socket.listen(self.backlog)?;
        Ok(socket.into())
    }
}

/// A server's process, killed when the value is dropped.
pub(super) struct Served(Child);

impl Served {
    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), signal).context("cannot signal a server")
    }

    /// Kills the process, as the OOM killer does.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `netqueue lab worker serve`.
pub(crate) fn serve(how: &Serve) -> Result<()> {
    prctl::set_name(&std::ffi::CString::new(how.name.as_str())?).context("cannot change the name")?;
    if how.open_files > 0 {
        setrlimit(Resource::RLIMIT_NOFILE, how.open_files, how.open_files)?;
    }
    let listeners = (0..how.group.max(1)).map(|_| how.listener()).collect::<Result<Vec<_>>>()?;
    println!("listening");
    let accepted = AtomicU32::new(0);
    thread::scope(|scope| {
        for listener in &listeners {
            for _ in 0..how.workers.max(1) {
                scope.spawn(|| accept(how, listener, &accepted));
            }
        }
    });
    Ok(())
}

fn accept(how: &Serve, listener: &TcpListener, accepted: &AtomicU32) {
    loop {
        if how.accepts > 0 && accepted.fetch_add(1, Ordering::Relaxed) >= how.accepts {
            loop {
                thread::park();
            }
        }
        match listener.accept() {
            Ok((stream, _)) if how.workers > 0 => attend(&how.acts, stream),
            Ok((stream, _)) => {
                let acts = how.acts.clone();
                thread::spawn(move || attend(&acts, stream));
            }
            Err(_) => thread::sleep(AFTER_FAILURE),
        }
    }
}

/// Carries out the script. An error ends it, as a broken connection ends a real server's.
fn attend(acts: &[Act], mut stream: TcpStream) {
    let mut at = 0;
    while let Some(act) = acts.get(at) {
        at += 1;
        let done = match *act {
            Act::Read(most) => match stream.read(&mut vec![0; most]) {
                Ok(0) | Err(_) => return,
                Ok(_) => Ok(()),
            },
            Act::Reply => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            Act::Alert => stream.write_all(&CLOSE_NOTIFY),
            Act::Wait(time) => {
                thread::sleep(Duration::from_millis(time));
                Ok(())
            }
            Act::Drain => {
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
                Ok(())
            }
            Act::Finish => stream.shutdown(Shutdown::Write),
            Act::Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
            Act::Again => {
                at = 0;
                Ok(())
            }
            Act::Hold => loop {
                thread::park();
            },
        };
        if done.is_err() {
            return;
        }
    }
}
