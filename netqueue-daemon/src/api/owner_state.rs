//! Conversion of the state of a listener's owners to its API representation.

use netqueue_api::{OwnerState, ProcessState};
use netqueue_domain::{self as domain, Activity, CpuQuota, Hindrance, WallClock};

pub(super) fn owner_state_from(state: &domain::OwnerState, clock: WallClock) -> OwnerState {
    let cgroup = &state.cgroup;
    OwnerState {
        at: clock.rfc3339(state.at),
        hindrances: state.hindrances().into_iter().map(Hindrance::as_str).map(str::to_owned).collect(),
        sharing: state.sharing,
        processes: state.processes.iter().map(|process| process_from(process, clock)).collect(),
        cpu_quota: cgroup.quota.and_then(CpuQuota::cpus),
        throttled_periods: cgroup.throttling.map(|throttling| throttling.throttled),
        cpu_periods: cgroup.throttling.map(|throttling| throttling.periods),
        frozen: cgroup.frozen,
        oom_kills: cgroup.oom.map(|oom| oom.kills),
        oom_killed: cgroup.oom.map(|oom| clock.rfc3339(oom.noticed)),
        cpu_pressure: cgroup.cpu_pressure,
    }
}

fn process_from(process: &domain::ProcessState, clock: WallClock) -> ProcessState {
    ProcessState {
        pid: process.pid,
        name: process.name.to_string(),
        activity: process.activity.map(Activity::as_str).map(str::to_owned),
        since: clock.rfc3339(process.since),
        stop_signal: process.stop_signal,
        tracer: process.tracer,
        threads: process.threads,
        open_files: process.open_files,
        file_limit: process.file_limit,
    }
}
