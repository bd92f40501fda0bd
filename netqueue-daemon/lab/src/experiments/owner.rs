//! Servers that do not accept for a reason that netqueue must name.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::Socket;

use crate::counters::Counter;
use crate::diagnosis;
use crate::expectation::{Amount, Expectation, Experiment, Fixture, Scenario};
use crate::host_setting;
use crate::sockets::{Listener, connect_nonblocking, localhost};
use crate::sysctl;
use crate::verdict::Skip;
use crate::worker::{Serve, spawn_server};

pub(super) const STOPPED: Experiment = Experiment {
    number: "120",
    name: "owner-stopped",
    incident: "listen(4), the server is stopped by SIGSTOP, 12 clients come; then it goes on",
    verdict: "the server is stopped (SIGSTOP), and after SIGCONT it was; the advice is kill -CONT with its pid",
    provoke: Scenario::Watching(stopped),
};

pub(super) const OUT_OF_FILES: Experiment = Experiment {
    number: "121",
    name: "owner-out-of-files",
    incident: "listen(4), a server that keeps every connection may open 16 files, 30 clients come",
    verdict: "open files 16 of 16: accept() fails with EMFILE; the knob is its limit of open files",
    provoke: Scenario::Watching(out_of_files),
};

pub(super) const THROTTLED: Experiment = Experiment {
    number: "122",
    name: "owner-throttled",
    incident: "listen(4), each connection takes 50 ms of CPU, cpu.max allows 5 ms each 100 ms, four clients come each second",
    verdict: "the server is throttled in most of its periods: cpu.max 0.05 CPU",
    provoke: Scenario::Watching(throttled),
};

pub(super) const FROZEN: Experiment = Experiment {
    number: "123",
    name: "owner-frozen",
    incident: "listen(4), the cgroup of the server is frozen as docker pause does, 12 clients come",
    verdict: "the server is frozen (cgroup freezer)",
    provoke: Scenario::Watching(frozen),
};

/// Time within which the verdict must name the reason: two examinations, and a search for the owner.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// A server in a process of its own, which alone owns its listener, and its clients.
struct Server {
    port: u16,
    process: Child,
    clients: Vec<Socket>,
    since: SystemTime,
}

impl Server {
    fn start(fixture: &Fixture<'_>, port: u16, how: Serve) -> Result<Self> {
        let since = SystemTime::now();
        let process = fixture.netns.run(move || {
            sysctl::defaults()?;
            // Cookies would let some handshakes be completed that nobody remembers: another verdict.
            sysctl::ensure("ipv4/tcp_syncookies", 0)?;
            spawn_server(&Listener::ipv4(port, 4)?, how)
        })?;
        Ok(Self { port, process, clients: Vec::new(), since })
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("a process id fits 31 bits")?);
        kill(pid, signal).with_context(|| format!("cannot send {signal}"))
    }

    fn connect(&mut self, fixture: &Fixture<'_>, clients: u32) -> Result<()> {
        let to = localhost([127, 0, 0, 1], self.port);
        let more = fixture
            .netns
            .run(move || (0..clients).map(|_| connect_nonblocking(to)).collect::<Result<Vec<_>>>())?;
        self.clients.extend(more);
        Ok(())
    }

    /// Waits until the first verdict begins with `begins` and its advice or knobs contain `remedy`.
    /// `meanwhile` keeps the incident going.
    fn said(
        &mut self,
        fixture: &Fixture<'_>,
        (begins, remedy): (&[String], &str),
        meanwhile: impl Fn(&mut Self) -> Result<()>,
        expectation: &mut Expectation,
    ) -> Result<()> {
        let Some(server) = fixture.server else { return Ok(()) };
        let start = Instant::now();
        let mut last = "nothing".to_owned();
        while start.elapsed() < SAID_WITHIN {
            meanwhile(self)?;
            let verdicts = diagnosis::at_port(server, fixture.netns.inode(), self.port, self.since)?;
            if let Some(first) = verdicts.first() {
                let knobs = first.knobs.iter().map(|knob| &knob.set_by);
                let helps = first.advice.iter().chain(knobs).any(|advice| advice.contains(remedy));
                if helps && begins.iter().any(|begins| first.summary.starts_with(begins)) {
                    let after = start.elapsed().as_secs_f64();
                    expectation.measured.push(format!("after {after:.1} s: {}", first.summary));
                    return Ok(());
                }
                last = format!("{} Advice: {}", diagnosis::words(first), first.advice.join(" "));
            }
            thread::sleep(Duration::from_millis(250));
        }
        expectation.problems.push(format!(
            "the first verdict must begin with {:?} and advise {remedy:?}; it says: {last}",
            begins.first().map_or("", |begins| begins.as_str())
        ));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn dropped() -> Expectation {
    Expectation { kernel: vec![(Counter::ListenOverflows, Amount::AtLeast(4))], ..Expectation::default() }
}

fn stopped(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut server = Server::start(fixture, 9120, Serve::default())?;
    let (mut expectation, pid) = (dropped(), server.pid());
    server.signal(Signal::SIGSTOP)?;
    server.connect(fixture, 12)?;
    let says = |is: &str| {
        // Kernels before 5.17 do not report the signal.
        ["SIGSTOP", "state T, as after SIGSTOP"]
            .map(|signal| format!("exe (pid {pid}) {is} stopped ({signal})"))
    };
    let remedy = format!("kill -CONT {pid}");
    server.said(
        fixture,
        (&says("is").map(|said| said + ": it has accepted nothing for"), &remedy),
        |_| Ok(()),
        &mut expectation,
    )?;
    server.signal(Signal::SIGCONT)?;
    server.said(fixture, (&says("was").map(|said| said + " at "), &remedy), |_| Ok(()), &mut expectation)?;
    expectation.open.push(Box::new(server));
    Ok(expectation)
}

fn out_of_files(fixture: &Fixture<'_>) -> Result<Expectation> {
    let mut server = Server::start(fixture, 9121, Serve { nofile: Some(16), ..Serve::default() })?;
    let (mut expectation, pid) = (dropped(), server.pid());
    server.connect(fixture, 30)?;
    let begins = format!(
        "exe (pid {pid}) has no descriptor left (open files 16 of 16: accept() fails with EMFILE): it has accepted nothing for"
    );
    server.said(fixture, (&[begins], &format!("prlimit --pid {pid}")), |_| Ok(()), &mut expectation)?;
    expectation.open.push(Box::new(server));
    Ok(expectation)
}

fn throttled(fixture: &Fixture<'_>) -> Result<Expectation> {
    host_setting::allowed(fixture.settings, "it makes a cgroup")?;
    let cgroup = Cgroup::create("netqueue-lab-throttled")?;
    cgroup.write("cpu.max", "5000 100000")?;
    let mut server = Server::start(fixture, 9122, Serve { work_ms: 50, ..Serve::default() })?;
    cgroup.write("cgroup.procs", &server.pid().to_string())?;
    let (mut expectation, pid) = (dropped(), server.pid());
    server.connect(fixture, 12)?;
    let begins = format!("exe (pid {pid}) is throttled (in ");
    let more = |server: &mut Server| server.connect(fixture, 1);
    server.said(fixture, (&[begins], "Raise the CPU quota"), more, &mut expectation)?;
    expectation.open.push(Box::new((server, cgroup)));
    Ok(expectation)
}

fn frozen(fixture: &Fixture<'_>) -> Result<Expectation> {
    host_setting::allowed(fixture.settings, "it makes a cgroup")?;
    let cgroup = Cgroup::create("netqueue-lab-frozen")?;
    let mut server = Server::start(fixture, 9123, Serve::default())?;
    cgroup.write("cgroup.procs", &server.pid().to_string())?;
    cgroup.write("cgroup.freeze", "1")?;
    let (mut expectation, pid) = (dropped(), server.pid());
    server.connect(fixture, 12)?;
    let begins =
        format!("exe (pid {pid}) is frozen (cgroup freezer, e.g. docker pause): it has accepted nothing for");
    server.said(
        fixture,
        (&[begins], "cgroup.freeze of /netqueue-lab-frozen"),
        |_| Ok(()),
        &mut expectation,
    )?;
    cgroup.write("cgroup.freeze", "0")?;
    expectation.open.push(Box::new((server, cgroup)));
    Ok(expectation)
}

/// A cgroup of version 2, removed when dropped; its processes must have ended.
struct Cgroup(PathBuf);

impl Cgroup {
    fn create(name: &str) -> Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+cpu").map_err(|error| {
            Skip::because(format!("the CPU controller of cgroup version 2 cannot be used here: {error}"))
        })?;
        let path = root.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot make {}", path.display()))
            }
            Ok(()) | Err(_) => Ok(Self(path)),
        }
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A cgroup that is left over does no harm.
        let _ = fs::remove_dir(&self.0);
    }
}
