//! A healthy host with HTTPS: a real nginx, real TLS clients, and what else comes in all day.
//!
//! Every host with HTTPS answers some `close_notify` alerts with resets, and is scanned, checked and reloaded.
//! None of it affects a client, so no verdict may have an impact above `absorbed`.
//!
//! Now and then a client's close_notify comes just before the server's close, and its FIN just after: to the kernel such a
//! reset is like that of a request that nobody read. Up to one in a hundred may get that verdict, and a few more.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use netqueue_api::Impact;
use nix::sys::signal::Signal;

use super::nginx::wait_until_it_listens;
use crate::client::Server;
use crate::counters::Counter;
use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::netns::Netns;
use crate::programs::{self, Folder, Program};
use crate::wire::{self, SERVER};

pub(super) const HEALTHY: Experiment = Experiment {
    number: "93",
    name: "nginx-https-healthy",
    incident: "a real nginx serves HTTPS to clients that end with close_notify, is checked by connects and resets, scanned, and told to reload",
    verdict: "no client is affected: at no time is a verdict above `absorbed`, except for a few resets of the very moment of a close",
    provoke: Scenario::Watching(healthy),
};

/// Default duration of the experiment, in seconds.
pub(crate) const SECONDS: u64 = 40;

const PORT: u16 = 8443;
const PATIENCE: Duration = Duration::from_secs(20);
const RELOAD_INTERVAL: Duration = Duration::from_secs(15);

/// Configuration of nginx: it closes connections that were idle for 3 s.
const CONF: &str = "user www-data; daemon off; worker_processes 2; pid nginx.pid; error_log stderr;
events { worker_connections 512; }
http {
  access_log off; keepalive_timeout 3;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 8443 ssl; ssl_certificate certificate.pem; ssl_certificate_key key.pem;
    location / { return 200 \"hello\"; }
  }
}
";

fn healthy(fixture: &Fixture<'_>) -> Result<Expectation> {
    for program in ["nginx", "openssl"] {
        programs::find(program)?;
    }
    let clients = Netns::create()?;
    wire::join(fixture.netns, &clients)?;
    let (nginx, folder) = start(fixture.netns)?;
    let since = SystemTime::now();
    let until = Instant::now() + Duration::from_secs(fixture.settings.healthy_seconds);
    let crowd = clients.run(move || Ok(come(until)))?;
    let mut expectation = Expectation {
        kernel: vec![(Counter::OutRsts, Amount::AtLeast(10)), (Counter::ListenDrops, Amount::Exactly(0))],
        ..Expectation::default()
    };
    let mut alarms = BTreeMap::new();
    let mut reload = Instant::now() + RELOAD_INTERVAL;
    while Instant::now() < until {
        thread::sleep(Duration::from_secs(1));
        if Instant::now() >= reload {
            reload += RELOAD_INTERVAL;
            nginx.signal(Signal::SIGHUP)?;
        }
        if let Some(server) = fixture.server {
            collect(server, fixture.netns, since, &mut alarms)?;
        }
    }
    let mut served = 0;
    for one in crowd {
        served += one.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    expectation.measured.push(format!("{served} requests were served"));
    for (rule, (affected, words)) in alarms {
        if RACES.contains(&&*rule) && affected <= 5 + served / 100 {
            expectation.measured.push(format!("a reset of the very moment of a close: {words}"));
        } else {
            expectation.problems.push(format!("no client is affected, and the verdict is {words}"));
        }
    }
    expectation.open.push(Box::new((nginx, folder, clients)));
    Ok(expectation)
}

/// Starts nginx with a certificate of its own and waits until it listens.
fn start(netns: &Netns) -> Result<(Program, Folder)> {
    netns.run(|| {
        let folder = Folder::create("nginx-https")?;
        let place = folder.path().display().to_string();
        let (key, certificate) = (format!("{place}/key.pem"), format!("{place}/certificate.pem"));
        let curve = "ec_paramgen_curve:prime256v1";
        programs::output(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                curve,
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=lab",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        )?;
        folder.write("nginx.conf", CONF)?;
        let mut nginx =
            Program::start("nginx", &["-p", &place, "-c", "nginx.conf", "-e", "stderr"], &folder)?;
        wait_until_it_listens(&mut nginx, PORT)?;
        Ok((nginx, folder))
    })
}

/// Verdicts above `absorbed`: by rule, the largest number of clients and the words.
type Alarms = BTreeMap<String, (u64, String)>;

/// Rules of resets whose packets came at the very moment of the close.
const RACES: [&str; 2] = ["unread_data", "unknown_connection"];

/// Adds the current verdicts that are above `absorbed`.
fn collect(server: &Server, netns: &Netns, since: SystemTime, alarms: &mut Alarms) -> Result<()> {
    for verdict in diagnosis::verdicts(server, netns.inode(), since)? {
        let before = alarms.get(&verdict.rule).map_or(0, |(affected, _)| *affected);
        if verdict.impact != Impact::Absorbed && verdict.affected >= before {
            let words = diagnosis::words(&verdict);
            alarms.insert(verdict.rule, (verdict.affected, words));
        }
    }
    Ok(())
}

/// Starts the threads of all clients; each returns the number of requests that were served.
fn come(until: Instant) -> Vec<JoinHandle<Result<u64>>> {
    let client = |work: fn() -> Result<u64>, pause: Duration| {
        thread::spawn(move || {
            let mut served = 0;
            while Instant::now() < until {
                served += work()?;
                thread::sleep(pause);
            }
            Ok(served)
        })
    };
    vec![
        client(|| browse(Leaving::WhenClosed), Duration::from_millis(200)),
        client(|| browse(Leaving::WhenClosed), Duration::from_millis(700)),
        client(|| browse(Leaving::AtOnce), Duration::from_millis(400)),
        client(|| check(None), Duration::from_secs(1)),
        client(|| check(Some(Duration::ZERO)), Duration::from_secs(1)),
        client(scan, Duration::from_millis(300)),
    ]
}

/// End of a browser's connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Once the server has closed the idle connection: its `close_notify` then meets no connection.
    WhenClosed,
    /// After the answer.
    AtOnce,
}

/// Sends one request by TLS.
fn browse(leaving: Leaving) -> Result<u64> {
    let to = SocketAddr::from((SERVER, PORT)).to_string();
    let mut openssl = Command::new(programs::find("openssl")?)
        .args(["s_client", "-quiet", "-connect", &to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start openssl")?;
    let (Some(mut input), Some(mut output)) = (openssl.stdin.take(), openssl.stdout.take()) else {
        bail!("openssl has no input or output");
    };
    // An error shows as an answer that is missing.
    let _sent = input.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.ends_with(b"hello") {
        match output.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    match leaving {
        Leaving::WhenClosed => output.read_to_end(&mut Vec::new()).map(drop)?,
        Leaving::AtOnce => {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(openssl.id())?), Signal::SIGTERM)?
        }
    }
    drop(input);
    openssl.wait()?;
    ensure!(answer.ends_with(b"hello"), "nginx gave no answer by TLS");
    Ok(1)
}

/// Connects as a health check does, and closes: with a reset if the socket lingers for no time.
fn check(linger: Option<Duration>) -> Result<u64> {
    let client = TcpStream::connect_timeout(&(SERVER, PORT).into(), PATIENCE)?;
    socket2::SockRef::from(&client).set_linger(linger)?;
    Ok(0)
}

/// Connects to a port on which nothing listens.
fn scan() -> Result<u64> {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let port = 9000 + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 1000;
    let _refused = TcpStream::connect_timeout(&(SERVER, port).into(), PATIENCE);
    Ok(0)
}
