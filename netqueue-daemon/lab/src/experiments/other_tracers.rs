//! Other tools that trace the functions netqueue watches.
//! Their tracing hides the caller of a function, and must not change netqueue's causes of resets.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::{final_ack, resets};
use crate::expectation::{Expectation, Experiment, Fixture, LabSettings, Scenario};
use crate::sockets::Family;
use crate::verdict::Skip;

pub(super) const RESETS_KRETPROBES: Experiment = Experiment {
    number: "81",
    name: "resets-beside-kretprobes",
    incident: "experiment 13 while kretprobes of another tool watch the functions that send resets",
    verdict: "the same eight resets, each with the same cause as without",
    provoke: Scenario::Watching(|fixture| beside(fixture, Tracer::kretprobes, resets::resets)),
};

pub(super) const ABORT_KRETPROBES: Experiment = Experiment {
    number: "81b",
    name: "abort-beside-kretprobes",
    incident: "experiment 4 while kretprobes of another tool watch the functions that end handshakes",
    verdict: "six overflows, each answered with a reset because tcp_abort_on_overflow is 1, as without; EmbryonicRsts adds up",
    provoke: Scenario::Watching(|fixture| beside(fixture, Tracer::kretprobes, abort)),
};

pub(super) const RESETS_GRAPH: Experiment = Experiment {
    number: "81c",
    name: "resets-beside-function-graph",
    incident: "experiment 13 while function_graph traces the functions that send resets",
    verdict: "the same eight resets, each with the same cause as without",
    provoke: Scenario::Watching(|fixture| beside(fixture, Tracer::function_graph, resets::resets)),
};

pub(super) const ABORT_GRAPH: Experiment = Experiment {
    number: "81d",
    name: "abort-beside-function-graph",
    incident: "experiment 4 while function_graph traces the functions that end handshakes",
    verdict: "six overflows, each answered with a reset because tcp_abort_on_overflow is 1, as without; EmbryonicRsts adds up",
    provoke: Scenario::Watching(|fixture| beside(fixture, Tracer::function_graph, abort)),
};

const FUNCTIONS: [&str; 4] =
    ["inet_csk_reqsk_queue_drop", "tcp_v4_send_reset", "tcp_v6_send_reset", "tcp_send_active_reset"];
const TRACING: &str = "/sys/kernel/tracing";
const GROUP: &str = "netqueue_lab";

fn abort(_: &LabSettings) -> Result<Expectation> {
    final_ack::raw(Family::V4, 8061, true)
}

fn beside(
    fixture: &Fixture<'_>,
    tracer: fn() -> Result<Tracer>,
    provoke: fn(&LabSettings) -> Result<Expectation>,
) -> Result<Expectation> {
    let settings = fixture.settings;
    if !settings.host_settings {
        return Err(Skip::because(
            "it traces some functions of the whole machine for a second or two: --host-settings allows that",
        ));
    }
    let tracer = tracer()?;
    let mut expectation = fixture.netns.run(move || provoke(&settings))?;
    expectation.open.push(Box::new(tracer));
    Ok(expectation)
}

/// Tracing by another tool, which ends when the value is dropped.
struct Tracer {
    tracing: PathBuf,
    kretprobes: bool,
}

impl Tracer {
    fn kretprobes() -> Result<Self> {
        let tracer = Self { tracing: tracing()?, kretprobes: true };
        let probes: String =
            FUNCTIONS.iter().map(|function| format!("r:{GROUP}/{function} {function}\n")).collect();
        tracer.append("kprobe_events", &probes)?;
        tracer.write(&format!("events/{GROUP}/enable"), "1")?;
        Ok(tracer)
    }

    fn function_graph() -> Result<Self> {
        let tracer = Self { tracing: tracing()?, kretprobes: false };
        if !tracer.read("available_tracers")?.contains("function_graph") {
            return Err(Skip::because("this kernel has no function_graph"));
        }
        tracer.write("set_ftrace_filter", &FUNCTIONS.join("\n"))?;
        tracer.write("current_tracer", "function_graph")?;
        Ok(tracer)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.tracing.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.tracing.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
    }

    /// Appends to a tracing file, because overwriting would remove the probes of others.
    fn append(&self, file: &str, text: &str) -> Result<()> {
        let path = self.tracing.join(file);
        let written = OpenOptions::new().append(true).open(&path).and_then(|mut file| {
            text.lines().try_for_each(|line| file.write_all(format!("{line}\n").as_bytes()))
        });
        written.with_context(|| format!("cannot add {text:?} to {}", path.display()))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let removed: String = FUNCTIONS.iter().map(|function| format!("-:{GROUP}/{function}\n")).collect();
        let stopped = if self.kretprobes {
            self.write(&format!("events/{GROUP}/enable"), "0")
                .and_then(|()| self.append("kprobe_events", &removed))
        } else {
            self.write("current_tracer", "nop").and_then(|()| self.write("set_ftrace_filter", ""))
        };
        if let Err(error) = stopped {
            eprintln!("the lab's tracing goes on: {error:#}");
        }
    }
}

/// Returns the directory of tracefs, which is mounted if necessary.
fn tracing() -> Result<PathBuf> {
    let path = Path::new(TRACING);
    if !path.join("kprobe_events").exists() {
        mount(Some("tracefs"), path, Some("tracefs"), MsFlags::empty(), None::<&str>)
            .map_err(|error| Skip::because(format!("tracefs cannot be mounted at {TRACING}: {error}")))?;
    }
    Ok(path.to_owned())
}
