//! Location of a process from its cgroup: systemd unit, container, pod. Pure: text in, place out.
//!
//! Input is /proc/PID/cgroup: one line `0::PATH` for version 2, `NUMBER:CONTROLLERS:PATH` for each hierarchy
//! of version 1.

use std::sync::Arc;

use netqueue_domain::{CgroupInfo, Runtime, printable};

/// Longest path that is kept, in bytes; a longer one is cut.
const LONGEST_PATH: usize = 512;
/// Longest name in a path that is kept, in bytes; a longer one is cut.
const LONGEST_NAME: usize = 128;

/// Parses a process's cgroup file; `None` if it has no line.
#[must_use]
pub(super) fn parse(file: &str) -> Option<CgroupInfo> {
    let paths = file.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // A container may appear in one hierarchy of version 1 and not in another; otherwise systemd's own is the
    // most specific.
    let worth = |(controllers, path): &(&str, &str)| {
        let container = container(path).is_some();
        (
            container,
            !path.trim_matches('/').is_empty(),
            *controllers == "name=systemd",
            controllers.is_empty(),
        )
    };
    let (_, path) = paths.max_by_key(worth)?;
    let (runtime, container) = container(path).unzip();
    Some(CgroupInfo {
        cgroup: printable(path.as_bytes(), LONGEST_PATH),
        unit: unit(path).map(name),
        container: container.map(|id| name(&id)),
        runtime,
        pod: pod(path),
    })
}

fn name(text: &str) -> Arc<str> {
    printable(text.as_bytes(), LONGEST_NAME)
}

/// Returns the innermost service or scope.
fn unit(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| {
        let stem = part.strip_suffix(".service").or_else(|| part.strip_suffix(".scope"));
        stem.is_some_and(|stem| !stem.is_empty())
    })
}

/// Returns the innermost container: its runtime and its id.
fn container(path: &str) -> Option<(Runtime, String)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    (0..parts.len()).rev().find_map(|at| {
        let parents = parts.get(..at)?;
        by_prefix(parts[at]).or_else(|| by_parent(parts[at], parents))
    })
}

/// Recognises containers by names that contain the runtime: `docker-ID.scope`,
/// `cri-containerd-ID.scope`, `..:cri-containerd:ID`.
fn by_prefix(part: &str) -> Option<(Runtime, String)> {
    const PREFIXES: [(&str, Runtime); 7] = [
        ("cri-containerd-", Runtime::Containerd),
        ("containerd-", Runtime::Containerd),
        ("nerdctl-", Runtime::Containerd),
        ("docker-", Runtime::Docker),
        ("crio-", Runtime::Crio),
        ("libpod-", Runtime::Podman),
        ("buildkit-", Runtime::Docker),
    ];
    if let Some(id) = part.rsplit_once(":cri-containerd:").map(|(_, id)| id).filter(|id| is_id(id)) {
        return Some((Runtime::Containerd, id.to_owned()));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some((Runtime::Lxc, name.to_owned()));
    }
    if let Some(machine) = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope")) {
        return Some((Runtime::Machine, unescape(machine)));
    }
    if let Some(machine) = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
    {
        return Some((Runtime::Machine, unescape(machine)));
    }
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    PREFIXES.iter().find_map(|(prefix, runtime)| {
        // `crio-conmon-ID` and the like are processes of the runtime: what follows the prefix is not an id.
        let id = stem.strip_prefix(prefix).filter(|id| is_id(id))?;
        Some((*runtime, id.to_owned()))
    })
}

/// Recognises containers by the parents of a name: `/docker/ID`, `/kubepods/../podUID/ID`,
/// `/ecs/TASK/ID`, `/lxc/NAME`.
fn by_parent(part: &str, parents: &[&str]) -> Option<(Runtime, String)> {
    let parent = parents.last()?;
    let below = |name: &str| parents.first() == Some(&name);
    if matches!(*parent, "lxc" | "lxc.payload") {
        return Some((Runtime::Lxc, part.to_owned()));
    }
    if !is_id(part) && !is_fargate_id(part) {
        return None;
    }
    let runtime = if pod_uid(parent).is_some() {
        Runtime::Kubernetes
    } else if below("ecs") && parents.len() >= 2 {
        Runtime::Ecs
    } else if *parent == "docker" || parents.contains(&"docker") {
        Runtime::Docker
    } else if parent.starts_with("libpod_parent") {
        Runtime::Podman
    } else if *parent == "default" || *parent == "k8s.io" || *parent == "moby" {
        Runtime::Containerd
    } else {
        return None;
    };
    Some((runtime, part.to_owned()))
}

/// Returns whether `text` is 64 hexadecimal digits, the format of all runtimes' ids.
fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

/// Returns whether `text` is 32 hexadecimal digits, a dash and a number, the format of Fargate.
fn is_fargate_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32 && is_hex(task) && !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
    })
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the uid of the pod that the path leads through.
fn pod(path: &str) -> Option<Arc<str>> {
    path.split(['/', ':']).rev().find_map(pod_uid).map(|uid| uid.as_str().into())
}

/// Parses `podUID`, or `kubepods-burstable-podUID.slice` with the uid's dashes as underscores.
fn pod_uid(part: &str) -> Option<String> {
    let stem = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match stem.rfind("-pod") {
        Some(at) => stem.get(at + 4..)?,
        None => stem.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let dashed = uid.len() == 36
        && uid
            .char_indices()
            .all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() });
    // The uid of a static pod is a hash without dashes.
    (dashed || uid.len() == 32 && is_hex(&uid)).then_some(uid)
}

/// Reverses systemd's escapes such as `\x2d`, for characters that a unit's name may not contain.
fn unescape(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let code = rest.strip_prefix(b"\\x").and_then(|code| code.get(..2));
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[4..];
            }
            None => {
                plain.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
