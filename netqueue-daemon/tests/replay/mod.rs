//! Runs a real daemon on a recording, and makes up recordings of storms.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netqueue_daemon::recording::{self, Header, Writer};
use netqueue_domain::{
    AccountKey, Counts, DropKind, Endpoint, Event, KernelCounter, Netns, Observation, Observed, Peer,
    QueueState, Queues, SocketId, Timestamp, What,
};
use serde_json::Value;

pub(crate) const HOST: Netns = Netns::at_attach(4_026_531_840);
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Observations per second of a storm.
const STEPS: u64 = 50;

/// A synthetic storm of drops.
#[derive(Clone, Copy)]
pub(crate) struct Storm {
    /// Number of the run, which determines its time.
    pub(crate) run: u64,
    pub(crate) seconds: u64,
    pub(crate) events_per_second: u64,
    pub(crate) listeners: u64,
}

impl Storm {
    /// The time at which the storm's daemon attached, in nanoseconds.
    pub(crate) const fn attached(&self) -> u64 {
        (1_790_000_000 + self.run * 1000) * SECOND
    }

    pub(crate) const fn events(&self) -> u64 {
        self.seconds * self.events_per_second
    }

    fn listener(&self, number: u64) -> AccountKey {
        let port = 8000 + (number % self.listeners) as u16;
        let at = Endpoint { netns: HOST, addr: Ipv4Addr::UNSPECIFIED.into(), port };
        AccountKey::Listener { socket: SocketId(number % self.listeners + 1), at }
    }

    /// The event with this number, counted from 1.
    pub(crate) fn event(&self, number: u64) -> Event {
        let account = self.listener(number);
        Event {
            time: Timestamp::from_nanos(self.attached() + number * SECOND / self.events_per_second),
            account,
            local_port: account.port().unwrap_or_default(),
            peer: Some(Peer { addr: Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into(), port: 4000 }),
            what: What::Drop(DropKind::AcceptQueueFullSyn),
            kernel_reason: None,
            queues: Queues { accept: Some(QueueState { length: 9, limit: 8 }), syn: None },
            cpu: 0,
            age: None,
        }
    }

    /// The counters of a listener after the events up to `until`.
    fn charged(&self, listener: u64, until: u64) -> (AccountKey, Counts) {
        let drops = (until + self.listeners - listener) / self.listeners - u64::from(listener == 0);
        let kernel = |counter| match counter {
            KernelCounter::ListenOverflows | KernelCounter::ListenDrops => drops,
            _ => 0,
        };
        let counts = Counts::from_fn(
            |kind| if kind == DropKind::AcceptQueueFullSyn { drops } else { 0 },
            |_| 0,
            kernel,
        );
        (self.listener(listener), counts)
    }

    /// Writes the storm as a recording; returns its path.
    pub(crate) fn record(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("storm-{}.nqr", self.run));
        let mut writer = Writer::new(File::create(&path).expect("a file"));
        let header = Header::new("test".to_owned(), HOST, true, Timestamp::from_nanos(self.attached()));
        writer.line(&serde_json::to_vec(&header).expect("JSON")).expect("written");
        let each = self.events_per_second / STEPS;
        for step in 0..self.seconds * STEPS {
            let until = (step + 1) * each;
            let events: Vec<_> = (step * each + 1..=until).map(|number| self.event(number)).collect();
            let time = events.last().expect("there are some").time;
            let counts = (0..self.listeners).map(|listener| self.charged(listener, until)).collect();
            for what in [Observation::Counts(counts), Observation::Events(events)] {
                writer.line(&serde_json::to_vec(&Observed { time, what }).expect("JSON")).expect("written");
            }
        }
        writer.line(recording::END.as_bytes()).expect("written");
        writer.finish().expect("written");
        path
    }
}

/// A daemon on a recording; killed, as by `kill -9`, when dropped.
pub(crate) struct Replay {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Replay {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Replay {
    /// Starts a daemon and waits until a line of its log contains `says`.
    pub(crate) fn start(recording: &Path, arguments: &[&str], says: &str) -> Self {
        // The port should still be free a moment later; otherwise the daemon reports that and the test fails.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let mut child = Command::new(env!("CARGO_BIN_EXE_netqueue"))
            .args(["replay".as_ref(), recording.as_os_str()])
            .args(arguments)
            .args(["--web.listen-address", &address.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut log = BufReader::new(child.stderr.take().expect("its log")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let found = log.by_ref().any(|line| {
            let found = line.contains(says);
            said.push(line);
            found
        });
        let replay = Self { child, address };
        assert!(found, "the replay ended without saying {says:?}: {said:?}");
        std::thread::spawn(move || log.for_each(drop));
        replay
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.split_once("\r\n\r\n").expect("HTTP").1.to_owned()
    }

    pub(crate) fn ask(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).expect("JSON")
    }

    /// Waits until at least `least` events of this run are stored.
    pub(crate) fn wait_for(&self, least: u64) {
        let start = Instant::now();
        loop {
            let stored = self.ask("/api/v1/status")["data"]["events"]["stored"].as_u64().expect("a number");
            if stored >= least {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{stored} of {least}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn netqueue(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netqueue"));
        let output = command.args(args).args(["--server", &format!("http://{}", self.address)]).output();
        let output = output.expect("it runs");
        assert!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// CPU time used so far, with the kernel's resolution of 10 ms.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let numbers = stat.rsplit(") ").next().expect("what follows its name").split_whitespace();
        let ticks: u64 = numbers.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Current and maximum resident memory, in KiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}
