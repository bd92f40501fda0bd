//! Findings about the process that should accept: what hinders it, what was ruled out, and advice.
//! The rules about full and waiting accept queues share them.

use super::{
    super::{Evidence, ExaminedOwner, Fact, Knob, software},
    count, fact,
    words::{who, who_first},
};
use crate::{Activity, Hindrance, OwnerState, ProcessState, Runtime};

/// Returns the clause about what keeps the process from accepting, if that was found.
/// The clause begins a sentence and has no full stop: "gunicorn (pid 468) is stopped (SIGSTOP)".
pub(super) fn said(evidence: &Evidence) -> Option<String> {
    let examined = evidence.owner_state.as_ref()?;
    let hindrance = *examined.state.hindrances().first()?;
    Some(clause(evidence, examined, hindrance))
}

/// Names the process at the beginning of a sentence, after what was found.
/// "gunicorn (pid 468) is stopped (SIGSTOP): it". A want of CPU slows a process and does not keep it from accepting anything.
pub(super) fn subject(evidence: &Evidence) -> String {
    let found = evidence.owner_state.as_ref().and_then(|examined| {
        let hindrance = *examined.state.hindrances().first()?;
        (hindrance != Hindrance::CpuPressure).then_some((examined, hindrance))
    });
    let Some((examined, hindrance)) = found else { return who_first(evidence) };
    let is_it = examined.state.sharing < 2 && hindrance != Hindrance::OomKilled;
    let subject = if is_it { "it" } else { "the server" };
    format!("{}: {subject}", clause(evidence, examined, hindrance))
}

/// Puts what was found before the sentences of a verdict.
pub(super) fn led(evidence: &Evidence, summary: &str) -> String {
    said(evidence).map_or_else(|| summary.to_owned(), |found| format!("{found}. {summary}"))
}

/// Returns what to do about what was found; where nothing was, what remains after what was ruled out.
pub(super) fn advice(evidence: &Evidence) -> Vec<String> {
    let Some(examined) = &evidence.owner_state else { return vec![unexamined(evidence)] };
    let found = examined.state.hindrances();
    if found.is_empty() {
        return vec![remaining(evidence, &examined.state)];
    }
    let explained = found != [Hindrance::CpuPressure];
    let remaining = (!explained).then(|| remaining(evidence, &examined.state));
    found.iter().map(|hindrance| remedy(evidence, examined, *hindrance)).chain(remaining).collect()
}

/// Returns what to do about what was found, for a process that does accept, if slowly.
pub(super) fn advice_if_found(evidence: &Evidence) -> Vec<String> {
    let found = said(evidence).map(|_| advice(evidence)).unwrap_or_default();
    let own = own_limit(evidence).filter(|_| found.is_empty());
    let own = own.map(|limit| format!("See whether it has reached its own limit of connections: {limit}."));
    found.into_iter().chain(own).collect()
}

/// Returns the settings that remove what was found.
pub(super) fn knobs(evidence: &Evidence) -> Vec<Knob> {
    let Some(ExaminedOwner { state, .. }) = &evidence.owner_state else { return Vec::new() };
    let knob = |hindrance: &Hindrance| match hindrance {
        Hindrance::OutOfFiles => state.hindered(*hindrance).next().and_then(|process| {
            let limit = process.file_limit?;
            Some(Knob {
                name: "open files (RLIMIT_NOFILE)".to_owned(),
                set_by: format!(
                    "{}, then a restart; at once: prlimit --pid {} --nofile={}",
                    match &evidence.owner.as_ref()?.unit {
                        Some(unit) => format!("LimitNOFILE= of {unit}"),
                        None => "ulimit -n before its start, or the container's nofile ulimit".to_owned(),
                    },
                    process.pid,
                    limit.saturating_mul(2),
                ),
                current: Some(limit.to_string()),
                proposed: format!("above {limit}"),
            })
        }),
        Hindrance::Throttled => state.cgroup.quota.and_then(|quota| quota.cpus()).map(|cpus| Knob {
            name: "cpu.max".to_owned(),
            set_by: format!("the CPU quota of its cgroup{}: {}", path(state), quota_set_by(state)),
            current: Some(format!("{cpus} CPU")),
            proposed: format!("above {cpus} CPU"),
        }),
        Hindrance::Frozen
        | Hindrance::Stopped
        | Hindrance::Traced
        | Hindrance::OomKilled
        | Hindrance::Blocked
        | Hindrance::CpuPressure => None,
    };
    state.hindrances().iter().filter_map(knob).collect()
}

/// Returns the numbers behind what was found.
pub(super) fn facts(evidence: &Evidence) -> Vec<Fact> {
    let Some(ExaminedOwner { state, .. }) = &evidence.owner_state else { return Vec::new() };
    let throttling = state.cgroup.throttling;
    // Of several processes the one with the fewest descriptors left.
    let files = state.processes.iter().filter_map(|process| process.open_files.zip(process.file_limit));
    let files = files.min_by_key(|(open, limit)| limit.saturating_sub(*open));
    let threads: Option<u32> = state.processes.iter().map(|process| process.threads).sum();
    [
        Some(count("owner_processes", state.sharing.into(), "processes")),
        threads.map(|threads| count("owner_threads", threads.into(), "threads")),
        files.map(|(open, _)| count("owner_open_files", open, "files")),
        files.map(|(_, limit)| count("owner_file_limit", limit, "files")),
        throttling.map(|counts| count("throttled_periods", counts.throttled, "periods")),
        throttling.map(|counts| count("cpu_periods", counts.periods, "periods")),
        state.cgroup.quota.and_then(|quota| quota.cpus()).map(|cpus| fact("cpu_quota", cpus, "CPUs")),
        state.cgroup.cpu_pressure.map(|percent| fact("cpu_pressure", percent, "%")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the setting of the server's own limit of connections, which may be what it waits for.
fn own_limit(evidence: &Evidence) -> Option<&'static str> {
    evidence.software().and_then(software::of)?.connections_set_by
}

fn clause(evidence: &Evidence, examined: &ExaminedOwner, hindrance: Hindrance) -> String {
    let ExaminedOwner { state, ongoing, .. } = examined;
    let (which, many) = which(evidence, state, hindrance);
    let is = match (ongoing, many) {
        (true, false) => "is",
        (true, true) => "are",
        (false, false) => "was",
        (false, true) => "were",
    };
    let at = if *ongoing { String::new() } else { format!(" at {}", examined.time(state.at)) };
    let cgroup = &state.cgroup;
    match hindrance {
        Hindrance::Frozen => format!("{which} {is} frozen (cgroup freezer, e.g. docker pause){at}"),
        Hindrance::Stopped => {
            format!("{which} {is} stopped ({}){at}", signal(state.hindered(hindrance).next()))
        }
        Hindrance::Traced => {
            let tracer = state.hindered(hindrance).find_map(|process| process.tracer);
            let tracer = tracer.map_or(String::new(), |pid| format!(", pid {pid}"));
            format!("{which} {is} stopped by a tracer (debugger or strace{tracer}){at}")
        }
        Hindrance::OutOfFiles => {
            let has = match (ongoing, many) {
                (true, false) => "has",
                (true, true) => "have",
                (false, _) => "had",
            };
            let process = state.hindered(hindrance).next();
            let (open, limit) =
                process.and_then(|process| process.open_files.zip(process.file_limit)).unwrap_or_default();
            format!(
                "{which} {has} no descriptor left{at} (open files {open} of {limit}: accept() fails with EMFILE)"
            )
        }
        Hindrance::OomKilled => {
            let noticed = cgroup.oom.map_or(state.at, |oom| oom.noticed);
            let killed = cgroup.oom.map_or(1, |oom| oom.kills);
            let (who, when) = (who(evidence), examined.time(noticed));
            match killed {
                1 => format!("A process in the cgroup of {who} was OOM-killed at {when}"),
                _ => format!("{killed} processes in the cgroup of {who} were OOM-killed, the last at {when}"),
            }
        }
        Hindrance::Throttled => {
            let throttling = cgroup.throttling.unwrap_or_default();
            let quota = cgroup.quota.and_then(|quota| quota.cpus());
            let quota = quota.map_or(String::new(), |cpus| format!(": cpu.max {cpus} CPU"));
            format!(
                "{which} {is} throttled (in {} of {} periods{quota}){at}",
                throttling.throttled, throttling.periods
            )
        }
        Hindrance::Blocked => {
            format!("{which} {is} blocked in the kernel (state D: waits for a device or a file system){at}")
        }
        Hindrance::CpuPressure => {
            let percent = cgroup.cpu_pressure.unwrap_or_default();
            format!("{which} {is} short of CPU (its cgroup waited for one {percent} % of 10 s){at}")
        }
    }
}

/// Names the processes of which a hindrance holds, to begin a sentence; true if they are many.
fn which(evidence: &Evidence, state: &OwnerState, hindrance: Hindrance) -> (String, bool) {
    let hindered: Vec<&ProcessState> = state.hindered(hindrance).collect();
    let [first, more @ ..] = hindered.as_slice() else { return (who_first(evidence), false) };
    let listed =
        hindered.iter().take(4).map(|process| process.pid.to_string()).collect::<Vec<_>>().join(", ");
    let rest = if hindered.len() > 4 { ", .." } else { "" };
    let pids = if more.is_empty() { format!("pid {listed}") } else { format!("pids {listed}{rest}") };
    let examined = state.processes.len();
    let sharing = state.sharing as usize;
    let named = format!("{} ({pids})", first.name);
    match (hindered.len(), examined) {
        (1, 1) if sharing <= 1 => (named, false),
        (found, _) if found == sharing => (format!("All {found} processes of {named}"), true),
        (found, examined) if examined == sharing => {
            (format!("{found} of the {sharing} processes that share the listener, {named},"), found > 1)
        }
        (found, examined) => (
            format!(
                "{found} of {examined} examined processes of the {sharing} that share the listener, {named},"
            ),
            found > 1,
        ),
    }
}

fn signal(process: Option<&ProcessState>) -> &'static str {
    match process.and_then(|process| process.stop_signal) {
        Some(19) => "SIGSTOP",
        Some(20) => "SIGTSTP",
        Some(21) => "SIGTTIN",
        Some(22) => "SIGTTOU",
        Some(_) | None => "state T, as after SIGSTOP",
    }
}

fn remedy(evidence: &Evidence, examined: &ExaminedOwner, hindrance: Hindrance) -> String {
    let ExaminedOwner { state, ongoing, .. } = examined;
    let pids = || {
        let pids: Vec<_> = state.hindered(hindrance).map(|process| process.pid.to_string()).collect();
        pids.join(" ")
    };
    match hindrance {
        Hindrance::Frozen if *ongoing => format!("Thaw it: {}.", thaw(evidence, state)),
        Hindrance::Frozen => format!("If it is frozen still, thaw it: {}.", thaw(evidence, state)),
        Hindrance::Stopped => {
            let pids = pids();
            let go_on = if *ongoing {
                format!("Let it go on: kill -CONT {pids}.")
            } else {
                format!("If it is stopped still, let it go on: kill -CONT {pids}.")
            };
            format!("{go_on} Find out who stopped it: a snapshot or backup script, a debugger, Ctrl-Z.")
        }
        Hindrance::Traced => {
            let tracer = state.hindered(hindrance).find_map(|process| process.tracer);
            format!(
                "Let the tracer{} detach or continue the process.",
                tracer.map_or(String::new(), |pid| format!(" (pid {pid})"))
            )
        }
        Hindrance::OutOfFiles => {
            let pid = state.hindered(hindrance).next().map_or(0, |process| process.pid);
            let own = own_limit(evidence).map_or(String::new(), |limit| {
                format!(" If they are connections of clients, keep the server's own limit below: {limit}.")
            });
            format!(
                "Raise its limit of open files, and see what holds them (ls -l /proc/{pid}/fd): files or sockets that only grow \
                 are a leak, which a higher limit delays.{own}"
            )
        }
        Hindrance::OomKilled => format!(
            "Raise the memory limit of its cgroup{} (memory.max{}), or run fewer workers. The kernel's log says who was killed: \
             journalctl -k --grep oom-kill.",
            path(state),
            match &evidence.owner.as_ref().and_then(|owner| owner.unit.as_ref()) {
                Some(unit) => format!("; MemoryMax= of {unit}"),
                None => String::new(),
            }
        ),
        Hindrance::Throttled => format!(
            "Raise the CPU quota of its cgroup{} ({}), or send it less traffic. More workers under the same quota do not help.",
            path(state),
            quota_set_by(state)
        ),
        Hindrance::Blocked => format!(
            "See what it waits for: cat /proc/{}/stack. A disk, or a network file system whose server does not answer.",
            state.hindered(hindrance).next().map_or(0, |process| process.pid)
        ),
        Hindrance::CpuPressure => {
            "Give it more CPU: what else runs on its CPUs, and has its cgroup a small cpu.weight?".to_owned()
        }
    }
}

/// Returns the advice where what was examined is in order: what was ruled out, and what remains.
fn remaining(evidence: &Evidence, state: &OwnerState) -> String {
    let cgroup = &state.cgroup;
    let first = state.processes.first();
    let activity = first.and_then(|process| process.activity).map(|activity| match state.processes.len() {
        1 => format!("its state is {}", letter(activity)),
        several => format!("none of its {several} examined processes is stopped"),
    });
    let files = state.processes.iter().filter_map(|process| process.open_files.zip(process.file_limit));
    let files = files.min_by_key(|(open, limit)| limit.saturating_sub(*open));
    let files = files.map(|(open, limit)| format!("{open} of {limit} files are open"));
    let throttled = cgroup.quota.map(|_| "its cgroup is not throttled".to_owned());
    let ruled_out: Vec<_> = [activity, files, throttled].into_iter().flatten().collect();
    let own = own_limit(evidence)
        .map_or(String::new(), |limit| format!(" Or it has reached its own limit of connections: {limit}."));
    let pid = first.map_or_else(String::new, |process| process.pid.to_string());
    format!(
        "Find out what {} waits for: {}. A deadlock or a blocked event loop shows in its stack (gdb -p {pid}, py-spy dump --pid \
         {pid}, jstack {pid}).{own}",
        who(evidence),
        ruled_out.join(", "),
    )
}

/// Returns the advice where the process could not be examined.
fn unexamined(evidence: &Evidence) -> String {
    let how = evidence.owner.as_ref().map_or(String::new(), |owner| {
        let pid = owner.pid;
        format!(
            " See State in /proc/{pid}/status, and count /proc/{pid}/fd against Max open files in /proc/{pid}/limits."
        )
    });
    format!(
        "Find out what blocks {}: it is stopped, deadlocked or out of file descriptors (accept() fails with EMFILE), or its event \
         loop is blocked.{how}",
        who(evidence)
    )
}

const fn letter(activity: Activity) -> &'static str {
    match activity {
        Activity::Running => "R (running)",
        Activity::Sleeping => "S (sleeping)",
        Activity::Blocked => "D (waiting for a device)",
        Activity::Stopped => "T (stopped)",
        Activity::Traced => "t (traced)",
        Activity::Ended => "Z (ended)",
        Activity::Other => "none of the usual ones",
    }
}

fn path(state: &OwnerState) -> String {
    state.place.as_ref().map_or(String::new(), |place| format!(" {}", place.cgroup))
}

fn quota_set_by(state: &OwnerState) -> String {
    let place = state.place.as_deref();
    match (place.and_then(|place| place.container.as_ref()), place.and_then(|place| place.unit.as_ref())) {
        (Some(_), _) if place.is_some_and(|place| place.pod.is_some()) => "limits.cpu of the pod".to_owned(),
        (Some(id), _) => format!("docker update --cpus N {}", short(id)),
        (None, Some(unit)) => format!("CPUQuota= of {unit}"),
        (None, None) => "cpu.max".to_owned(),
    }
}

fn thaw(evidence: &Evidence, state: &OwnerState) -> String {
    let place = state.place.as_deref();
    let container = place.and_then(|place| Some((place.runtime?, place.container.as_ref()?)));
    let by_hand =
        || format!("write 0 to cgroup.freeze of{} or of the cgroup above it that is frozen", path(state));
    match container {
        Some((Runtime::Docker, id)) => format!("docker unpause {}", short(id)),
        Some((Runtime::Podman, id)) => format!("podman unpause {}", short(id)),
        Some((Runtime::Containerd | Runtime::Crio | Runtime::Kubernetes | Runtime::Ecs, id)) => {
            format!(
                "unpause its container {} (nerdctl unpause, ctr task resume), or {}",
                short(id),
                by_hand()
            )
        }
        Some((Runtime::Lxc | Runtime::Machine, id)) => {
            format!("unfreeze its container {id}, or {}", by_hand())
        }
        None => match evidence.owner.as_ref().and_then(|owner| owner.unit.as_ref()) {
            Some(unit) => format!("systemctl thaw {unit}, or {}", by_hand()),
            None => by_hand(),
        },
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
