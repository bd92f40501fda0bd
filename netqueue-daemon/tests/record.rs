//! `netqueue record` against a running daemon.

mod replay;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use netqueue_daemon::recording::Reader;
use netqueue_domain::Observation;
use replay::{Replay, Storm};

/// Runs `netqueue record` into `file` as the user ops with this password.
fn record(replay: &Replay, file: &Path, password: &str) -> Output {
    let secret = file.with_extension("password");
    fs::write(&secret, password).expect("written");
    Command::new(env!("CARGO_BIN_EXE_netqueue"))
        .arg("record")
        .arg(file)
        .args(["--for", "1", "--server", &format!("http://{}", replay.address), "--user", "ops"])
        .arg("--password-file")
        .arg(secret)
        .output()
        .expect("it runs")
}

#[test]
fn a_protected_daemon_is_recorded_with_its_password_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let web = folder.path().join("web.yml");
    let hash = bcrypt::hash("right", 4).expect("hashed");
    fs::write(&web, format!("basic_auth_users:\n  ops: {hash}\n")).expect("written");
    let storm = Storm { run: 1, seconds: 1, events_per_second: 50, listeners: 2 };
    let web = web.to_str().expect("text");
    let replay = Replay::start(
        &storm.record(folder.path()),
        &["--speed", "max", "--web.config.file", web],
        "end of recording",
    );

    let wrong = folder.path().join("wrong.nqr");
    let refused = record(&replay, &wrong, "wrong");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("wants a user and a password it knows: --user and --password-file"), "{said}");
    assert!(!wrong.exists(), "nothing was observed, so nothing is left behind");

    let right = folder.path().join("right.nqr");
    let done = record(&replay, &right, "right");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let read = Replay::start(&right, &["--speed", "max"], "end of recording");
    assert_eq!(read.ask("/api/v1/status")["status"], "success");
}

#[test]
fn a_recording_ends_where_its_events_and_its_counts_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/demo-6.12.nqr");
    let replay = Replay::start(&demo, &["--speed", "1"], "serving");
    let file = folder.path().join("part.nqr");
    let seconds = ["--for", "2", "--server", &format!("http://{}", replay.address)];
    let done = Command::new(env!("CARGO_BIN_EXE_netqueue")).arg("record").arg(&file).args(seconds).output();
    assert!(done.expect("it runs").status.success());

    let reader = Reader::new(File::open(&file).expect("it is there")).expect("a recording");
    let mut kinds = Vec::new();
    for observed in reader {
        let kind = match observed.expect("whole").what {
            Observation::Events(_) => "events",
            Observation::Counts(_) => "counts",
            Observation::Health(_) => "health",
            _ => continue,
        };
        kinds.push(kind);
    }
    let counted = kinds.iter().rposition(|kind| *kind == "counts").expect("counts");
    assert!(!kinds[counted..].contains(&"events"), "events without counts: {:?}", &kinds[counted..]);
    assert_eq!(kinds.last(), Some(&"health"));
}
