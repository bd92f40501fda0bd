//! `netqueue explain` on a node with many listeners of one port, and beside resets that are not
//! netqueue's.

mod replay;

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use netqueue_daemon::recording::{self, Header, Writer};
use netqueue_domain::{
    AccountKey, AttachMode, BesideCounter, Bracket, CgroupInfo, Changes, Counts, DropKind, Endpoint, Family,
    Health, KernelCounter, Limit, Listener, NamespaceNews, Netns, Observation, Observed, Owner, PerCounter,
    ProbeStatus, ResetCause, SocketId, SocketInode, Sysctls, Timestamp, Unknown,
};
use replay::{HOST, Replay, SECOND};

const ATTACHED: u64 = 1_790_000_000 * SECOND;
const NODES: u32 = 46;
const CULPRIT: u32 = 38;

const fn shop(number: u32) -> Netns {
    Netns::at_attach(4_026_532_000 + number)
}

const fn at(netns: Netns, addr: Ipv4Addr, port: u16) -> Endpoint {
    Endpoint { netns, addr: IpAddr::V4(addr), port }
}

fn listener(number: u32, at: Endpoint, comm: &str) -> Arc<Listener> {
    let place = CgroupInfo {
        container: Some(format!("{number:012}abcdef").into()),
        pod: Some(format!("7d9f-{number}").into()),
        ..CgroupInfo::default()
    };
    let owner = Owner {
        pid: 4000 + number,
        started: u64::from(number),
        comm: comm.into(),
        executable: Err(Unknown::NotYet),
        place: Ok(place.into()),
        ended: false,
    };
    Arc::new(Listener {
        at,
        inode: SocketInode(number.into()),
        cookie: Ok(number.into()),
        family: Family::Ipv4,
        interface: None,
        uid: 0,
        reuseport: None,
        limit: Limit {
            backlog: Ok(128),
            argument: Ok(128),
            somaxconn_then: Err(Unknown::BeforeAttach),
            sysctls: Arc::new(Sysctls::unknown(Unknown::NotYet)),
        },
        owners: Ok([owner].into()),
        opened: Err(Unknown::BeforeAttach),
        found: Timestamp::from_nanos(ATTACHED),
        closed: None,
    })
}

/// Writes a recording of a node: 46 pods that listen on port 8080, of which one drops; a service on
/// 8084 that resets its connections; and resets that the host received.
fn record(folder: &Path) -> PathBuf {
    let wild = |number, port| at(shop(number), Ipv4Addr::UNSPECIFIED, port);
    let mut listeners: Vec<_> =
        (1..=NODES).map(|number| listener(number, wild(number, 8080), "gunicorn")).collect();
    listeners.push(listener(84, at(HOST, Ipv4Addr::UNSPECIFIED, 8084), "api"));
    let names = (1..=NODES).map(|number| (shop(number), Some(Arc::from(format!("shop-{number}").as_str()))));
    let full = |kind| if kind == DropKind::AcceptQueueFullSyn { 170_530 } else { 0 };
    let kernel = |counter| match counter {
        KernelCounter::ListenOverflows | KernelCounter::ListenDrops => 170_530,
        _ => 0,
    };
    let dropped = Counts::from_fn(full, |_| 0, kernel);
    let key = AccountKey::Listener { socket: SocketId(7), at: wild(CULPRIT, 8080) };
    let lingered = |cause| if cause == ResetCause::LingerZero { 37 } else { 0 };
    let connections = AccountKey::Endpoint(at(HOST, Ipv4Addr::new(10, 0, 0, 5), 8084));
    let reset = Counts::from_fn(
        |_| 0,
        lingered,
        |counter| {
            if counter == KernelCounter::OutRsts { 37 } else { 0 }
        },
    );
    let moved = vec![(BesideCounter::EstabResets, 45), (BesideCounter::ReversePathFilter, 3)];
    let probe = ProbeStatus {
        program: "tcp_v4_send_reset".into(),
        function: "tcp_v4_send_reset".into(),
        at: "entry".into(),
        mode: AttachMode::Kprobe,
        required: true,
        attached: true,
        detail: None,
        missed: None,
    };
    let health = Health { probes: vec![probe], ..Health::default() };
    let nothing = PerCounter::default();
    let steps = [
        (1, Observation::Health(Box::new(health))),
        (1, Observation::Compared(HOST, Bracket { before: nothing, kernel: nothing, after: nothing })),
        (1, Observation::Namespaces(NamespaceNews { found: names.collect(), ..NamespaceNews::default() })),
        (1, Observation::Listeners(Changes { listeners, ..Changes::default() })),
        (2, Observation::Sockets(vec![(key, SocketInode(CULPRIT.into()))])),
        (30, Observation::Counts(vec![(key, dropped), (connections, reset)])),
        (31, Observation::Beside(HOST, moved)),
        (40, Observation::Counts(Vec::new())),
    ];
    let path = folder.join("node.nqr");
    let mut writer = Writer::new(File::create(&path).expect("a file"));
    let header = Header::new("test".to_owned(), HOST, true, Timestamp::from_nanos(ATTACHED));
    writer.line(&serde_json::to_vec(&header).expect("JSON")).expect("written");
    for (second, what) in steps {
        let time = Timestamp::from_nanos(ATTACHED + second * SECOND);
        writer.line(&serde_json::to_vec(&Observed { time, what }).expect("JSON")).expect("written");
    }
    writer.line(recording::END.as_bytes()).expect("written");
    writer.finish().expect("written");
    path
}

/// Runs a command; returns its exit code and what it printed.
fn netqueue(replay: &Replay, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netqueue"));
    let server = format!("http://{}", replay.address);
    let output = command.args(arguments).args(["--server", &server]).output().expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("text").replace("\n  ", " "))
}

#[test]
fn the_command_of_an_alert_finds_the_culprit_and_silence_is_no_all_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let replay = Replay::start(&record(folder.path()), &["--speed", "max"], "end of recording");

    let (code, text) = netqueue(&replay, &["explain", "8080"]);
    let flat = text.replace('\n', " ");
    assert!(
        flat.starts_with(
            "port 8080: 46 listeners; one has dropped or reset something: 0.0.0.0:8080 in shop-38 (gunicorn 4038, \
             pod 7d9f-38, container 000000000038)."
        ),
        "{text}"
    );
    let verdict = flat.find("accept queue").expect("its verdict follows");
    assert!(verdict < flat.find("Dropped 170,530 packets").expect("and its numbers"), "{text}");
    assert_eq!(code, Some(1), "clients are harmed");

    for name in ["pod:7d9f-38", "netns:shop-38", "container:000000000038", "pid:4038"] {
        let (code, text) = netqueue(&replay, &["explain", name]);
        assert!(text.contains("Dropped 170,530 packets") && code == Some(1), "{name}: {text}");
    }
    let (_, text) = netqueue(&replay, &["explain", "0.0.0.0:8084"]);
    assert!(text.contains("No drop. 37 resets on its accepted connections"), "{text}");
    assert!(!text.contains("no reset was sent"), "{text}");
    let (_, text) = netqueue(&replay, &["explain", "10.0.0.5:8084"]);
    assert!(
        text.contains("A listening socket of process api (4084)"),
        "asked by the client's address: {text}"
    );

    let (_, text) = netqueue(&replay, &["explain"]);
    assert!(
        text.contains("In the host's network namespace in the last 40 s, not netqueue's to attribute:"),
        "{text}"
    );
    for told in [
        "at least 8 resets were received on established connections (EstabResets)",
        "3 packets were dropped by the reverse-path filter (IPReversePathFilter; rp_filter)",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (_, text) = netqueue(&replay, &["explain", "8084"]);
    let beside = text.find("not netqueue's to attribute").expect("also of one port");
    assert!(beside < text.find("No drop").expect("said"), "{text}");

    let (code, text) = netqueue(&replay, &["listeners", "--trouble"]);
    assert!(code == Some(1) && text.contains("8080"), "{text}");
    let (code, _) = netqueue(&replay, &["listeners", "netns:shop-3", "--trouble"]);
    assert_eq!(code, Some(0), "all is well there");
    let (code, of_port) = netqueue(&replay, &["events", "8080"]);
    assert_eq!(code, Some(0), "{of_port}");
    let (_, by_filter) = netqueue(&replay, &["events", "--port", "8080"]);
    assert_eq!(of_port, by_filter, "a port is named as in every other command");
    let (code, _) = netqueue(&replay, &["events", "8080", "--listener", "nginx"]);
    assert_eq!(code, Some(2), "one name, not two");
    let (code, text) = netqueue(&replay, &["events", "--listener", "netns:shop-38"]);
    assert!(code == Some(0) && text.starts_with("no such event\n"), "{text}");
}

#[test]
fn no_daemon_is_3_and_a_wrong_value_is_2_for_every_command() {
    let nowhere = "http://127.0.0.1:1";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.nqr");
    let file = file.to_str().expect("text");
    for (arguments, code) in [
        (vec!["explain", "--server", nowhere], 3),
        (vec!["record", file, "--server", nowhere], 3),
        (vec!["daemon", "--max-series", "many"], 2),
        (vec!["replay", file, "--max-series", "many"], 2),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_netqueue")).args(&arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
}

#[test]
fn events_say_that_there_are_more_and_resets_name_the_process_that_sent_them() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/demo-6.12.nqr");
    let replay = Replay::start(&demo, &["--speed", "max"], "end of recording");
    let (_, text) = netqueue(&replay, &["events", "8081"]);
    assert!(text.contains("the newest 20, oldest first; there are more: -n NUMBER\n"), "{text}");
    let kinds = text.lines().filter(|line| line.contains("  drop ")).count();
    assert_eq!(kinds, 20, "each row says what it is: {text}");
    let (_, text) = netqueue(&replay, &["events", "8081", "-n", "5000"]);
    assert!(!text.contains("there are more"), "{text}");

    let (_, text) = netqueue(&replay, &["resets"]);
    let nameless: Vec<_> = text.lines().filter(|line| line.contains("  connections  ")).collect();
    assert!(!nameless.is_empty(), "{text}");
    assert!(nameless.iter().all(|line| line.contains("  netqueue")), "{nameless:?}");
}
