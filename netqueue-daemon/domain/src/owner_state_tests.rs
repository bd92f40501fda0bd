//! Tests on the text that kernels write, and on what it means.

use super::*;

#[test]
fn a_stopped_process_is_known_by_its_status_and_its_signal_where_the_kernel_reports_it() {
    let status =
        text::status("Name:\tweb) T\nState:\tT (stopped)\nTracerPid:\t0\nFDSize:\t256\nThreads:\t3\n");
    assert_eq!((status.activity, status.tracer), (Some(Activity::Stopped), None));
    assert_eq!((status.threads, status.table), (Some(3), Some(256)));
    assert_eq!(text::status(""), text::Status::default());
    assert_eq!(text::stop_signal("7 (a 19) T 1 0 19\n"), Some(19));
    assert_eq!(text::stop_signal("7 (a) T 1 0 0\n"), None, "5.16 and earlier");
    assert_eq!(text::thread("7 (a) S 1) D 1 0"), Some(Activity::Blocked), "whatever its name is");
}

#[test]
fn limits_and_cgroup_files_are_read_in_both_versions() {
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max processes             7                    8                    processes \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(text::file_limit(limits), Some(1024));
    let half = Some(CpuQuota::Limited { quota: 50_000, period: 100_000 });
    assert_eq!(
        (text::cpu_max("max 100000\n"), text::cpu_max("50000 100000\n")),
        (Some(CpuQuota::Unlimited), half)
    );
    assert_eq!(text::cfs_quota("-1\n", "100000\n"), Some(CpuQuota::Unlimited));
    assert_eq!(text::cfs_quota("50000\n", "100000\n"), half);
    assert_eq!(half.and_then(CpuQuota::cpus), Some(0.5));
    let stat = "usage_usec 9\nnr_periods 40\nnr_throttled 31\nthrottled_usec 7\n";
    assert_eq!(text::cpu_stat(stat), Some(Throttling { throttled: 31, periods: 40 }));
    assert_eq!(text::cpu_stat("usage_usec 9\n"), None, "the root has no quota");
    assert_eq!(text::keyed("oom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill"), Some(2));
    assert_eq!(text::keyed("populated 1\nfrozen 1\n", "frozen"), Some(1));
    let pressure =
        "some avg10=62.51 avg60=9.00 avg300=1.00 total=5\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n";
    assert_eq!(text::pressure(pressure), Some(63));
    assert_eq!(text::pressure("Operation not supported"), None);
}

fn process(pid: u32) -> ProcessState {
    let (open_files, file_limit) = (Some(12), Some(1024));
    ProcessState {
        pid,
        activity: Some(Activity::Sleeping),
        open_files,
        file_limit,
        ..ProcessState::default()
    }
}

#[test]
fn a_process_that_sleeps_with_room_for_descriptors_is_hindered_by_nothing() {
    let state = OwnerState { processes: vec![process(1), process(2)], sharing: 2, ..OwnerState::default() };
    assert_eq!(state.hindrances(), []);
}

#[test]
fn hindrances_come_in_the_order_of_their_certainty() {
    let full = ProcessState { open_files: Some(1024), ..process(1) };
    let stopped = ProcessState { activity: Some(Activity::Stopped), ..process(2) };
    let throttling = Some(Throttling { throttled: 31, periods: 40 });
    let cgroup = CgroupState { throttling, cpu_pressure: Some(90), ..CgroupState::default() };
    let state = OwnerState { processes: vec![full, stopped], sharing: 2, cgroup, ..OwnerState::default() };
    use Hindrance::{OutOfFiles, Stopped, Throttled};
    assert_eq!(
        state.hindrances(),
        [Stopped, OutOfFiles, Throttled],
        "pressure is a consequence of the quota"
    );
    assert_eq!(state.hindered(Stopped).map(|process| process.pid).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_period_now_and_then_is_no_throttling_and_an_old_kill_explains_nothing() {
    let minutes = |number: u64| Timestamp::from_nanos(number * 60_000_000_000);
    let seldom = Throttling::between(
        Throttling { throttled: 100, periods: 500 },
        Throttling { throttled: 103, periods: 540 },
    );
    assert_eq!(seldom, Some(Throttling { throttled: 3, periods: 40 }));
    let oom = |noticed| Some(OomKills { kills: 1, noticed });
    let state = |oom| OwnerState {
        at: minutes(60),
        cgroup: CgroupState { throttling: seldom, oom, ..CgroupState::default() },
        ..OwnerState::default()
    };
    assert_eq!(state(oom(minutes(20))).hindrances(), []);
    assert_eq!(state(oom(minutes(59))).hindrances(), [Hindrance::OomKilled]);
    let same = Throttling { throttled: 1, periods: 2 };
    assert_eq!(Throttling::between(same, same), None, "nothing ran meanwhile");
    assert_eq!(Throttling::between(same, Throttling::default()), None, "another cgroup of that name");
}
