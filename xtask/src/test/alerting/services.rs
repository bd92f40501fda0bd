//! Runs Prometheus and Alertmanager with what netqueue ships; dropping the value ends them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use guest_init::http;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::debian::empty_dir;
use crate::setup::programs::{ALERTMANAGER, PROMETHEUS};
use crate::workspace::Workspace;

/// Limit within which each of them must answer.
const START: Duration = Duration::from_secs(30);

/// The running services, in a folder of their own below `target`.
pub(super) struct Services {
    prometheus: SocketAddr,
    children: Vec<Child>,
}

impl Services {
    /// Starts both.
    ///
    /// Prometheus scrapes `daemon` each second under the shipped rules; Alertmanager notifies `webhook` at
    /// once.
    pub(super) fn start(workspace: &Workspace, daemon: SocketAddr, webhook: SocketAddr) -> Result<Self> {
        let folder = workspace.target("alerting");
        empty_dir(&folder)?;
        let (prometheus, alertmanager) = (loopback(free_port()?), loopback(free_port()?));
        fs::write(folder.join("prometheus.yml"), prometheus_config(workspace, daemon, alertmanager))?;
        fs::write(folder.join("alertmanager.yml"), alertmanager_config(webhook))?;
        let mut services = Self { prometheus, children: Vec::new() };
        let listen = |address: SocketAddr| format!("--web.listen-address={address}");
        services.spawn(
            &folder,
            "alertmanager",
            with_its_files(&ALERTMANAGER.ensure(workspace)?)?
                .arg("--config.file=alertmanager.yml")
                .args(["--storage.path=alerts", "--cluster.listen-address="])
                .arg(listen(alertmanager)),
        )?;
        services.spawn(
            &folder,
            "prometheus",
            Command::new(PROMETHEUS.ensure(workspace)?)
                .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
                .arg(listen(prometheus)),
        )?;
        for (name, address) in [("alertmanager", alertmanager), ("prometheus", prometheus)] {
            if let Err(reason) = await_ready(address) {
                let log = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
                bail!("{name} does not begin to answer ({reason:#}), its log ends with: {}", last_line(&log));
            }
        }
        Ok(services)
    }

    /// Keeps Prometheus from doing anything for that time, as a machine that is too busy would.
    pub(super) fn pause_prometheus(&self, time: Duration) -> Result<()> {
        let child = self.children.last().context("Prometheus is not running")?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id fits 31 bits")?);
        kill(pid, Signal::SIGSTOP).context("Prometheus cannot be stopped")?;
        thread::sleep(time);
        kill(pid, Signal::SIGCONT).context("Prometheus cannot be continued")
    }

    /// Starts Alertmanager alone, at `address`; it notifies `webhook` at once.
    pub(super) fn alertmanager(
        workspace: &Workspace,
        address: SocketAddr,
        webhook: SocketAddr,
    ) -> Result<Self> {
        let folder = workspace.target("delivery");
        empty_dir(&folder)?;
        fs::write(folder.join("alertmanager.yml"), alertmanager_config(webhook))?;
        // There is no Prometheus here to query.
        let mut services = Self { prometheus: address, children: Vec::new() };
        services.spawn(
            &folder,
            "alertmanager",
            with_its_files(&ALERTMANAGER.ensure(workspace)?)?
                .arg("--config.file=alertmanager.yml")
                .args(["--storage.path=alerts", "--cluster.listen-address="])
                .arg(format!("--web.listen-address={address}")),
        )?;
        await_ready(address).context("Alertmanager does not begin to answer")?;
        Ok(services)
    }

    fn spawn(&mut self, folder: &Path, name: &str, command: &mut Command) -> Result<()> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        // SAFETY: between fork and exec this makes one system call (prctl) and allocates nothing.
        unsafe {
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        self.children.push(command.spawn().with_context(|| format!("{name} could not be started"))?);
        Ok(())
    }

    /// Returns the series of an instant query.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>> {
        self.ask(expression, &format!("/api/v1/query?query={}", encode(expression)))
    }

    /// Returns the series of a query over the last `seconds`, a point for every two.
    pub(super) fn query_range(&self, expression: &str, seconds: u32) -> Result<Vec<Value>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let from = now.saturating_sub(seconds.into());
        let path = format!("/api/v1/query_range?start={from}&end={now}&step=2&query={}", encode(expression));
        self.ask(expression, &path)
    }

    fn ask(&self, expression: &str, path: &str) -> Result<Vec<Value>> {
        let answer = http::get(self.prometheus, path, Duration::from_secs(5))?;
        let body: Value = serde_json::from_str(&answer.body).context("Prometheus does not answer in JSON")?;
        if answer.status != 200 {
            bail!("{expression}: {}", body["error"]);
        }
        Ok(body["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Returns `Some` once a query has a result; a Prometheus that is not up yet has none.
    pub(super) fn value(&self, expression: &str) -> Result<Option<()>> {
        Ok(self.query(expression).ok().filter(|series| !series.is_empty()).map(drop))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.children {
            // An error means that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn await_ready(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    loop {
        let answer = http::get(address, "/-/ready", Duration::from_secs(1));
        match answer {
            Ok(answer) if answer.status == 200 => return Ok(()),
            other if start.elapsed() > START => {
                bail!("{}", other.map_or_else(|error| error.to_string(), |answer| answer.status.to_string()))
            }
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn last_line(log: &str) -> &str {
    log.trim_end().lines().next_back().unwrap_or("nothing")
}

/// Builds a call of Debian's Alertmanager with its files laid over /usr/share, where it reads them.
fn with_its_files(program: &Path) -> Result<Command> {
    const LAY_OVER: &str = r#"mount -t overlay overlay -o "lowerdir=$1:/usr/share" /usr/share
        program=$2; shift 2; exec setpriv --pdeathsig KILL "$program" "$@""#;
    let share = program.ancestors().nth(2).context("a program is in usr/bin")?.join("share");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", LAY_OVER, "sh"]);
    command.arg(share).arg(program);
    Ok(command)
}

/// Returns a free port of this host's loopback.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn prometheus_config(workspace: &Workspace, daemon: SocketAddr, alertmanager: SocketAddr) -> String {
    let rules = workspace.root().join("deploy/prometheus/netqueue.rules.yml");
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [{rules:?}]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}\n\
         scrape_configs: [{{job_name: netqueue, static_configs: [{{targets: [\"{daemon}\"]}}]}}]\n"
    )
}

fn alertmanager_config(webhook: SocketAddr) -> String {
    format!(
        "route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: \"http://{webhook}/\", send_resolved: true}}]}}]\n"
    )
}

/// Percent-encodes everything but what never needs it.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
