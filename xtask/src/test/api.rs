//! Tests the query API against its own OpenAPI document, with schemathesis and a daemon that replays.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_init::http;

use super::tally::Tally;
use crate::build::{self, Flavour};
use crate::process;
use crate::setup::python::SCHEMATHESIS;
use crate::workspace::Workspace;

/// Paths left out: streams, which do not end.
const ENDLESS: [&str; 2] = ["/api/v1/events/stream", "/api/v1/recording"];

/// Fails on a server error, an undocumented answer, or a refusal of what the document admits.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally> {
    let python = SCHEMATHESIS.ensure(workspace)?;
    let daemon = Daemon::replay(workspace)?;
    let mut schemathesis = Command::new(python.with_file_name("schemathesis"));
    // schemathesis keeps a folder of its own in the current one.
    schemathesis.current_dir(workspace.target(""));
    schemathesis.args(["run", &format!("http://{}/api/v1/openapi.json", daemon.address)]);
    schemathesis.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "50", "--seed", "1"]);
    for path in ENDLESS {
        schemathesis.args(["--exclude-path", path]);
    }
    let (status, _) = process::tee(&mut schemathesis)?;
    Ok(Tally::of(status.success()))
}

/// A daemon that replays a recording; dropping the value ends it.
struct Daemon {
    child: Child,
    address: SocketAddr,
}

impl Daemon {
    fn replay(workspace: &Workspace) -> Result<Self> {
        // The guests' binary runs here as well: another one would be a second release build.
        let binary = build::netqueue(workspace, Flavour::GUEST)?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = workspace.target("replay.log");
        let recording = workspace.root().join("netqueue-daemon/tests/recordings/demo-6.12.nqr");
        let mut command = Command::new(binary);
        command.arg("replay").arg(recording).args([
            "--speed",
            "max",
            "--web.listen-address",
            &address.to_string(),
        ]);
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("netqueue cannot be started")?;
        let daemon = Self { child, address };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if http::get(address, "/-/ready", Duration::from_secs(1)).is_ok_and(|answer| answer.status == 200)
            {
                return Ok(daemon);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the replay does not answer; it said: {}", std::fs::read_to_string(&log).unwrap_or_default())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
