//! Set-up of a bare kernel: file systems, modules, limits.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::console::say;

/// File systems and their mount points, in an order in which each finds its parent.
const MOUNTS: [(&str, &str); 9] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// Mounts the file systems that programs expect.
pub(crate) fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        // Mount points below /sys exist already, and only the kernel makes folders there.
        if !place.starts_with("/sys/") {
            fs::create_dir_all(place).with_context(|| format!("{place} cannot be made"))?;
        }
        match mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("{kind} cannot be mounted on {place}")),
        }
    }
    Ok(())
}

/// Gives an empty cgroup a CPU quota, so that the kernel patches the scheduler's code now.
/// The first quota makes the kernel do that (kernel/sched/fair.c `__cfs_bandwidth_used`); an emulator of
/// several CPUs may not survive it under load.
pub(crate) fn use_a_quota() {
    const ROOT: &str = "/sys/fs/cgroup";
    let quota = || {
        fs::write(format!("{ROOT}/cgroup.subtree_control"), "+cpu")?;
        fs::create_dir(format!("{ROOT}/quota"))?;
        fs::write(format!("{ROOT}/quota/cpu.max"), "50000 100000")
    };
    if let Err(error) = quota() {
        say(format_args!("no CPU quota: {error}"));
    }
}

/// Loads the packed modules in the order of their file names.
pub(crate) fn load_modules() -> Result<()> {
    let entries = fs::read_dir("/modules").context("/modules cannot be read")?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    for path in &files {
        let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        match finit_module(file, <&CStr>::default(), ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be loaded", path.display())),
        }
    }
    say(format_args!("{} modules loaded", files.len()));
    Ok(())
}

/// Lifts the memlock limit, to which kernels before 5.11 charge eBPF maps.
pub(crate) fn lift_memlock() -> Result<()> {
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
        .context("the memlock limit cannot be lifted")
}
