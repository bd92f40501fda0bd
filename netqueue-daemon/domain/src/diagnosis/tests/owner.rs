//! Verdicts about a process that was examined while clients waited: what was found comes first, and the
//! advice follows from it.

use super::*;
use crate::{
    Activity, CgroupInfo, CgroupState, CpuQuota, OomKills, OwnerState, ProcessState, Runtime, Throttling,
    WallClock,
};

const HALF: CpuQuota = CpuQuota::Limited { quota: 50_000, period: 100_000 };

fn process(pid: u32) -> ProcessState {
    ProcessState {
        pid,
        name: Arc::from("gunicorn"),
        activity: Some(Activity::Sleeping),
        threads: Some(1),
        all_blocked: Some(false),
        open_files: Some(12),
        file_limit: Some(1024),
        ..ProcessState::default()
    }
}

fn stopped(pid: u32) -> ProcessState {
    ProcessState { activity: Some(Activity::Stopped), stop_signal: Some(19), ..process(pid) }
}

fn state(processes: Vec<ProcessState>) -> OwnerState {
    OwnerState {
        // 03:12:07
        at: seconds(11_527),
        sharing: u32::try_from(processes.len()).expect("few"),
        processes,
        ..OwnerState::default()
    }
}

fn in_cgroup(cgroup: CgroupState) -> OwnerState {
    let id = "0123456789abcdef".repeat(4);
    let place = CgroupInfo {
        cgroup: "/system.slice/docker-0123.scope".into(),
        container: Some(id.as_str().into()),
        runtime: Some(Runtime::Docker),
        ..CgroupInfo::default()
    };
    OwnerState { cgroup, place: Some(Arc::new(place)), ..state(vec![process(468)]) }
}

/// Creates evidence of gunicorn, which turned away 12 clients.
fn examined(state: OwnerState, ongoing: bool) -> Evidence {
    let examined = ExaminedOwner { state: Arc::new(state), ongoing, wall_clock: WallClock::default() };
    Evidence {
        owner: Some(ListeningProcess { name: Arc::from("gunicorn"), pid: 468, unit: None }),
        owner_state: Some(examined),
        backlog: Some(4),
        bound_by: None,
        counterfactual: answer(backlog(16), 12),
        ..burst()
    }
}

/// Creates evidence of gunicorn, which accepted nothing for 30 s.
fn unaccepted(state: OwnerState, ongoing: bool) -> Evidence {
    let evidence = examined(state, ongoing);
    if ongoing { stalls(30, 5, evidence) } else { stalled(30, 5, evidence) }
}

#[test]
fn a_stopped_process_is_said_to_be_stopped_and_the_advice_lets_it_go_on() {
    let verdict = first(&unaccepted(state(vec![stopped(468)]), true));
    assert_eq!(
        verdict.summary,
        "gunicorn (pid 468) is stopped (SIGSTOP): it has accepted nothing for 30 s: 5 connections wait for accept(), and the kernel \
         turned away 12 clients because its accept queue (backlog 4) was full."
    );
    assert!(verdict.advice[0].contains("kill -CONT 468"), "{:?}", verdict.advice);
    assert!(!verdict.advice.iter().any(|advice| advice.contains("deadlock")), "{:?}", verdict.advice);
}

#[test]
fn what_is_over_is_said_in_the_past_with_its_time() {
    let verdict = first(&unaccepted(state(vec![stopped(468)]), false));
    let begins = "gunicorn (pid 468) was stopped (SIGSTOP) at 03:12:07 UTC: it accepted nothing";
    assert!(verdict.summary.starts_with(begins), "{}", verdict.summary);
}

#[test]
fn a_process_without_a_descriptor_left_is_told_to_get_more_or_to_take_fewer_connections() {
    let full = ProcessState { open_files: Some(1024), ..process(468) };
    let verdict = first(&unaccepted(state(vec![full]), true));
    let begins = "gunicorn (pid 468) has no descriptor left (open files 1024 of 1024: accept() fails with EMFILE): it has accepted";
    assert!(verdict.summary.starts_with(begins), "{}", verdict.summary);
    let [knob] = verdict.knobs.as_slice() else { panic!("{:?}", verdict.knobs) };
    assert_eq!((knob.current.as_deref(), knob.proposed.as_str()), (Some("1024"), "above 1024"));
    assert!(knob.set_by.contains("prlimit --pid 468"), "{knob:?}");
    assert!(verdict.advice[0].contains("--worker-connections"), "{:?}", verdict.advice);
    let value = |name| verdict.evidence.iter().find(|fact| fact.name == name).map(|fact| fact.value);
    assert_eq!((value("owner_open_files"), value("owner_file_limit")), (Some(1024.0), Some(1024.0)));
}

#[test]
fn where_nothing_is_found_the_advice_says_what_was_ruled_out() {
    let cgroup = CgroupState { quota: Some(CpuQuota::Unlimited), ..CgroupState::default() };
    let verdict = first(&unaccepted(OwnerState { cgroup, ..state(vec![process(468)]) }, true));
    assert!(verdict.summary.starts_with("gunicorn (pid 468) has accepted nothing"), "{}", verdict.summary);
    let ruled_out = "its state is S (sleeping), 12 of 1024 files are open, its cgroup is not throttled.";
    assert!(verdict.advice[0].contains(ruled_out), "{:?}", verdict.advice);
    assert!(!verdict.advice[0].contains("EMFILE"), "{:?}", verdict.advice);
}

#[test]
fn a_slow_process_under_a_quota_is_said_to_be_throttled_before_its_rates() {
    let throttling = Some(Throttling { throttled: 31, periods: 40 });
    let cgroup =
        CgroupState { throttling, quota: Some(HALF), cpu_pressure: Some(80), ..CgroupState::default() };
    let evidence = Evidence {
        counterfactual: answer(Remedy::Faster { arrivals: 340.0, accepts: 210.0 }, 7800),
        ..examined(in_cgroup(cgroup), true)
    };
    let verdict = first(&evidence);
    let begins = "gunicorn (pid 468) is throttled (in 31 of 40 periods: cpu.max 0.5 CPU). gunicorn (pid 468) accepts 210 connections per second";
    assert_eq!(verdict.rule, "accept_queue_slow");
    assert!(verdict.summary.starts_with(begins), "{}", verdict.summary);
    assert_eq!(verdict.knobs[0].current.as_deref(), Some("0.5 CPU"));
    assert!(verdict.knobs[0].set_by.contains("docker update --cpus N 0123456789ab"), "{:?}", verdict.knobs);
}

#[test]
fn some_of_the_processes_that_share_a_listener_are_not_all() {
    let said = |state| first(&unaccepted(state, true)).summary;
    let one = said(state(vec![process(468), stopped(470), process(471)]));
    let begins = "1 of the 3 processes that share the listener, gunicorn (pid 470), is stopped (SIGSTOP): the server has accepted";
    assert!(one.starts_with(begins), "{one}");
    let all = said(state(vec![stopped(468), stopped(470)]));
    assert!(all.starts_with("All 2 processes of gunicorn (pids 468, 470) are stopped (SIGSTOP)"), "{all}");
    let many = said(OwnerState { sharing: 65, ..state(vec![process(468), stopped(470), stopped(471)]) });
    let begins =
        "2 of 3 examined processes of the 65 that share the listener, gunicorn (pids 470, 471), are stopped";
    assert!(many.starts_with(begins), "{many}");
}

/// Shows reviewers how each hindrance reads, while it goes on and after it is over.
#[test]
fn each_hindrance_has_its_sentence_and_its_advice() {
    let oom = |kills| {
        in_cgroup(CgroupState {
            oom: Some(OomKills { kills, noticed: seconds(11_520) }),
            ..CgroupState::default()
        })
    };
    let one = |process: ProcessState| state(vec![process]);
    let cases = [
        ("frozen", in_cgroup(CgroupState { frozen: Some(true), ..CgroupState::default() })),
        ("stopped", one(stopped(468))),
        ("stopped, signal not reported", one(ProcessState { stop_signal: None, ..stopped(468) })),
        ("traced", one(ProcessState { activity: Some(Activity::Traced), tracer: Some(9), ..process(468) })),
        ("out of files", one(ProcessState { open_files: Some(1024), ..process(468) })),
        ("one killed", oom(1)),
        ("two killed", oom(2)),
        ("blocked", one(ProcessState { all_blocked: Some(true), ..process(468) })),
        ("starved", in_cgroup(CgroupState { cpu_pressure: Some(63), ..CgroupState::default() })),
        ("nothing found", one(process(468))),
        ("nothing found in two", state(vec![process(468), process(470)])),
    ];
    let mut text = String::new();
    for (name, state) in cases {
        for ongoing in [true, false] {
            let verdict = first(&unaccepted(state.clone(), ongoing));
            text += &format!("--- {name}, {}\n", if ongoing { "going on" } else { "over" });
            text += &format!("{}\nADVICE {}\n", verdict.summary, verdict.advice[0]);
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("owner_hindrances", text));
}
