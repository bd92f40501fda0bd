//! Container that a process runs in, from the path of its cgroup.

use std::{fs, path::Path};

/// Returns the short id of a process's container, as `docker ps` and `crictl ps` show it.
pub(super) fn of_process(proc: &Path, pid: u32) -> Option<String> {
    in_cgroups(&fs::read_to_string(proc.join(pid.to_string()).join("cgroup")).ok()?)
}

/// Returns the last full id in the paths: a nested container's comes after that of the outer one.
fn in_cgroups(text: &str) -> Option<String> {
    const FULL: usize = 64;
    const SHORT: usize = 12;
    let is_id = |word: &&str| word.len() == FULL && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words.rfind(is_id).map(|id| id.chars().take(SHORT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_the_paths_runtimes_make() {
        let id = "3f1c9b0a".repeat(8);
        for path in [
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("12:pids:/docker/{id}\n11:cpu:/docker/{id}\n"),
            format!("0::/kubepods.slice/kubepods-pod2b_9.slice/cri-containerd-{id}.scope/init\n"),
            format!("0::/machine.slice/libpod-{id}.scope/container\n"),
        ] {
            assert_eq!(in_cgroups(&path).as_deref(), Some("3f1c9b0a3f1c"), "{path}");
        }
        assert_eq!(in_cgroups("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(in_cgroups(&format!("0::/docker-{id}0.scope\n")), None);
    }
}
