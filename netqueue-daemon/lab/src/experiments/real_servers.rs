//! Real servers, as `ss` and netqueue list them: equal listeners, backlogs and processes.
//! Compares after the start, after a reload, and after a restart.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::expectation::{Expectation, Experiment, Fixture, Scenario};
use crate::programs::{self, Folder, Program};
use crate::ss::{self, Table};
use crate::{observation, sysctl};

pub(super) const REAL_SERVERS: Experiment = Experiment {
    number: "70",
    name: "real-servers",
    incident: "nginx and Redis are started, nginx is told to reload, and both are restarted",
    verdict: "each listener's address, backlog and processes are those that ss -lntp shows, every time",
    provoke: Scenario::Watching(real_servers),
};

/// Time limit for servers to open their listeners.
const OPENS_WITHIN: Duration = Duration::from_secs(20);
/// Time limit for ss and netqueue to agree once the servers have settled.
const PATIENCE: Duration = Duration::from_secs(10);

const NGINX: [u16; 3] = [8090, 8091, 8092];
const REDIS: u16 = 8093;

/// Two addresses with backlogs of their own, one with nginx's default, one with a socket per worker.
const NGINX_CONF: &str = "user www-data; daemon off; worker_processes 2; pid nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:8090 backlog=64; listen [::1]:8090 backlog=300; return 204; }
  server { listen 8091; return 204; }
  server { listen 127.0.0.1:8092 reuseport; return 204; }
}
";

fn real_servers(fixture: &Fixture<'_>) -> Result<Expectation> {
    for program in ["ss", "nginx", "redis-server"] {
        programs::find(program)?;
    }
    fixture.netns.run(sysctl::defaults)?;
    let mut expectation = Expectation::default();
    let mut servers = Servers::start(fixture)?;
    servers.settle(fixture, None)?;
    agree(fixture, "started", &mut expectation)?;

    let before = servers.workers(fixture)?;
    servers.reload(fixture)?;
    servers.settle(fixture, Some(&before))?;
    agree(fixture, "reloaded", &mut expectation)?;

    let before = fixture.netns.run(ss::listeners)?;
    servers.restart(fixture)?;
    servers.settle(fixture, None)?;
    agree(fixture, "restarted", &mut expectation)?;
    let after = fixture.netns.run(ss::listeners)?;
    let kept = after.keys().filter(|inode| before.contains_key(inode)).count();
    ensure!(kept == 0, "{kept} sockets outlived the restart of their servers");
    names_outlive(fixture, &mut expectation)?;

    expectation.open.push(Box::new(servers));
    Ok(expectation)
}

/// Checks that closed listeners still name their process, though it has ended.
fn names_outlive(fixture: &Fixture<'_>, expectation: &mut Expectation) -> Result<()> {
    let Some(server) = fixture.server else { return Ok(()) };
    let rows = observation::rows(server, fixture.netns.inode())?;
    let closed = |port: u16| {
        let of_port = rows.iter().filter(move |row| row.port == Some(port));
        of_port.filter(|row| row.listener.as_ref().is_some_and(|details| details.closed.is_some()))
    };
    for (ports, name) in [(&NGINX[..], "nginx"), (&[REDIS][..], "redis-server")] {
        let closed: Vec<_> = ports.iter().flat_map(|port| closed(*port)).collect();
        let named = closed.iter().filter(|row| row.process == name).count();
        expectation
            .measured
            .push(format!("{named} of {} closed listeners are still called {name}", closed.len()));
        if closed.is_empty() || named < closed.len() {
            expectation.problems.push(format!("closed listeners of {name} lost its name with its end"));
        }
    }
    Ok(())
}

struct Servers {
    nginx: Program,
    redis: Program,
    folder: Folder,
}

impl Servers {
    fn start(fixture: &Fixture<'_>) -> Result<Self> {
        fixture.netns.run(|| {
            let folder = Folder::create("real-servers")?;
            folder.write("nginx.conf", NGINX_CONF)?;
            Ok(Self { nginx: nginx(&folder)?, redis: redis(&folder)?, folder })
        })
    }

    /// Waits until ss shows every listener of the servers, twice in a row without change.
    /// The listeners of nginx must belong to new workers, and to none of `old`.
    fn settle(&mut self, fixture: &Fixture<'_>, old: Option<&BTreeSet<u32>>) -> Result<()> {
        let start = Instant::now();
        let mut last = Table::new();
        loop {
            for server in [&mut self.nginx, &mut self.redis] {
                server.is_running()?;
            }
            let now = fixture.netns.run(ss::listeners)?;
            let ports = |port: u16| now.values().filter(|socket| socket.port == port).count();
            // Two addresses; one; a socket for each of two workers; two addresses.
            let there = [(NGINX[0], 2), (NGINX[1], 1), (NGINX[2], 2), (REDIS, 2)]
                .iter()
                .all(|(port, sockets)| ports(*port) == *sockets);
            let workers = workers(&now, self.nginx.pid());
            let new = old.is_none_or(|old| workers.is_disjoint(old)) && workers.len() == 2;
            if there && new && now == last {
                return Ok(());
            }
            ensure!(start.elapsed() < OPENS_WITHIN, "the servers never came to rest: {now:?}");
            last = now;
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn workers(&self, fixture: &Fixture<'_>) -> Result<BTreeSet<u32>> {
        Ok(workers(&fixture.netns.run(ss::listeners)?, self.nginx.pid()))
    }

    /// Reloads nginx with its own command, as an operator would.
    fn reload(&self, fixture: &Fixture<'_>) -> Result<()> {
        let folder = self.folder.path().display().to_string();
        let said = fixture.netns.run(move || {
            programs::output("nginx", &["-p", &folder, "-c", "nginx.conf", "-e", "stderr", "-s", "reload"])
        });
        said.map(drop)
    }

    fn restart(&mut self, fixture: &Fixture<'_>) -> Result<()> {
        self.nginx.end(Signal::SIGQUIT)?;
        self.redis.end(Signal::SIGTERM)?;
        let folder = self.folder.clone();
        let (nginx, redis) = fixture.netns.run(move || Ok((nginx(&folder)?, redis(&folder)?)))?;
        (self.nginx, self.redis) = (nginx, redis);
        Ok(())
    }
}

/// The processes of nginx except the master.
fn workers(table: &Table, master: u32) -> BTreeSet<u32> {
    let nginx = table.values().filter(|socket| NGINX.contains(&socket.port));
    nginx.flat_map(|socket| socket.owners.iter().map(|(pid, _)| *pid)).filter(|pid| *pid != master).collect()
}

fn nginx(folder: &Folder) -> Result<Program> {
    let place = folder.path().display().to_string();
    Program::start("nginx", &["-p", &place, "-c", "nginx.conf", "-e", "stderr"], folder)
}

fn redis(folder: &Folder) -> Result<Program> {
    let (port, place) = (REDIS.to_string(), folder.path().display().to_string());
    let arguments = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "::1",
        "--tcp-backlog",
        "111",
        "--save",
        "",
        "--dir",
        &place,
    ];
    Program::start("redis-server", &arguments, folder)
}

/// Polls ss and netqueue until they agree.
fn agree(fixture: &Fixture<'_>, when: &str, expectation: &mut Expectation) -> Result<()> {
    let Some(server) = fixture.server else { return Ok(()) };
    let start = Instant::now();
    loop {
        let ss = fixture.netns.run(ss::listeners)?;
        let netqueue = ss::of_netqueue(&observation::rows(server, fixture.netns.inode())?);
        let differences = ss::differences(&ss, &netqueue);
        let took = start.elapsed().as_millis();
        if differences.is_empty() {
            let owners: usize = ss.values().map(|socket| socket.owners.len()).sum();
            let listeners = ss.len();
            expectation.measured.push(format!(
                "{when}: {listeners} listeners with {owners} owners are those of ss -lntp, {took} ms after the servers came to rest"
            ));
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            expectation
                .problems
                .extend(differences.into_iter().map(|difference| format!("{when}: {difference}")));
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
