//! Tests on a /proc made of files, with processes that come, go and pass sockets on.

use std::{fs, os::unix::fs::symlink};

use super::*;

struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// Starts a process that has these sockets open.
    fn start(&self, pid: u32, started: u64, comm: &str, sockets: &[u64]) {
        let directory = self.0.path().join(pid.to_string());
        fs::create_dir_all(directory.join("fd")).expect("it can be made");
        let zeros = "0 ".repeat(18);
        let write =
            |name: &str, text: String| fs::write(directory.join(name), text).expect("it can be written");
        write("stat", format!("{pid} ({comm}) S {zeros}{started} 0"));
        write("comm", format!("{comm}\n"));
        write("cgroup", format!("0::/system.slice/{comm}.service\n"));
        for socket in sockets {
            symlink(format!("socket:[{socket}]"), directory.join(format!("fd/{socket}"))).expect("a link");
        }
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).expect("it was there");
    }

    fn rename(&self, pid: u32, comm: &str) {
        fs::write(self.0.path().join(pid.to_string()).join("comm"), format!("{comm}\n"))
            .expect("it is there");
    }
}

/// Owners of the sockets, in the order in which they are shown.
struct Watch {
    owners: Owners,
    wanted: HashSet<SocketInode>,
    now: Instant,
}

impl Watch {
    fn of(proc: &Proc, wanted: &[u64]) -> Self {
        let wanted = wanted.iter().map(|socket| SocketInode(*socket)).collect();
        Self { owners: Owners::new(proc.0.path()), wanted, now: Instant::now() }
    }

    fn after(&mut self, seconds: u64) -> bool {
        self.now += Duration::from_secs(seconds);
        self.owners.refresh(&self.wanted, self.now)
    }

    fn names(&self, socket: u64) -> Vec<String> {
        let owners = self.owners.of(SocketInode(socket)).expect("it has owners");
        owners.iter().map(|owner| format!("{} {}", owner.comm, owner.pid)).collect()
    }
}

#[test]
fn a_parent_and_its_workers_all_hold_it_and_the_oldest_gives_the_name() {
    let proc = Proc::new();
    // Process ids wrap round: the oldest process is not the one with the lowest.
    proc.start(30_000, 50, "nginx", &[7]);
    proc.start(20, 60, "worker", &[7]);
    proc.start(21, 60, "worker", &[7, 8]);
    let mut watch = Watch::of(&proc, &[7, 8]);
    watch.after(1);
    assert_eq!(watch.names(7), ["nginx 30000", "worker 20", "worker 21"]);
    assert_eq!(watch.names(8), ["worker 21"]);
}

#[test]
fn a_socket_the_service_manager_opened_is_named_after_the_service_once_it_runs() {
    let proc = Proc::new();
    proc.start(1, 1, "systemd", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    watch.after(1);
    assert_eq!(watch.names(7), ["systemd 1"]);
    proc.start(400, 90, "sshd", &[7]);
    watch.after(31);
    assert_eq!(watch.names(7), ["sshd 400", "systemd 1"]);
}

#[test]
fn who_ends_is_an_owner_no_more_and_whoever_got_its_number_is_another() {
    let proc = Proc::new();
    proc.start(10, 50, "old", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    watch.after(1);
    proc.end(10);
    proc.start(10, 99, "other", &[]);
    watch.after(1);
    assert_eq!(watch.owners.of(SocketInode(7)), Err(Unknown::Nobody));
}

#[test]
fn a_program_that_changed_its_name_is_called_by_the_new_one_without_a_pass() {
    let proc = Proc::new();
    proc.start(10, 50, "sh", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    watch.after(1);
    proc.rename(10, "redis-server");
    watch.after(1);
    assert_eq!(watch.names(7), ["redis-server 10"]);
    assert_eq!(watch.owners.cost().passes, 2, "the one that follows the first");
}

#[test]
fn without_anything_new_nobodys_descriptors_are_looked_at_until_the_period_is_over() {
    let proc = Proc::new();
    proc.start(10, 50, "web", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    for _ in 0..20 {
        watch.after(1);
    }
    assert_eq!((watch.owners.cost().passes, watch.owners.cost().descriptors), (4, 1), "one and three more");
    watch.after(23);
    assert_eq!(watch.owners.cost().passes, 5);
    watch.wanted.insert(SocketInode(8));
    watch.after(1);
    assert_eq!(watch.owners.cost().passes, 6, "a new listener is looked for at once");
    for _ in 0..20 {
        watch.after(1);
    }
    assert_eq!(watch.owners.cost().passes, 9, "one that nobody holds is not looked for again and again");
}

#[test]
fn a_long_pass_is_followed_by_a_longer_rest() {
    let proc = Proc::new();
    proc.start(10, 50, "web", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    watch.after(1);
    watch.owners.follow_ups.clear();
    watch.owners.last_took = Duration::from_secs(1);
    watch.wanted.insert(SocketInode(8));
    assert!(watch.after(5), "it is to come back");
    assert_eq!(watch.owners.cost().passes, 1);
    assert!(!watch.after(6));
    assert_eq!(watch.owners.cost().passes, 2);
}

#[test]
fn the_cgroup_of_a_process_says_its_unit() {
    let proc = Proc::new();
    proc.start(10, 50, "web", &[7]);
    let mut watch = Watch::of(&proc, &[7]);
    watch.after(1);
    let owners = watch.owners.of(SocketInode(7)).expect("it has owners");
    assert_eq!(owners[0].place.as_ref().expect("readable").unit.as_deref(), Some("web.service"));
}
