//! Errors are classified by what caused them, and show no address of the kernel.

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("the BPF_PROG_LOAD syscall returned {source}. Verifier output: {log}")]
struct Load {
    source: io::Error,
    log: &'static str,
}

const ADDRESS: &str = "27: (18) r1 = 0xff46421941660ef8      ; R1_w=map_ptr(map=ACCOUNTS,ks=4,vs=64)";

fn load(code: i32, log: &'static str) -> Load {
    Load { source: io::Error::from_raw_os_error(code), log }
}

#[test]
fn of_a_verifiers_log_the_line_that_says_why_is_left() {
    let log = "27: (18) r1 = 0xff46421941660ef8\n42: (bf) r8 = r6\nR6 !read_ok\nverification time 4 usec\nstack depth 128\nprocessed 3 insns\n\n";
    let error = refused("nq_sample_queues", &load(libc::EACCES, log)).to_string();
    assert!(
        error.contains("nq_sample_queues") && error.contains("says: R6 !read_ok (--log.level=debug"),
        "{error}"
    );
    assert!(!error.contains("0xff") && !error.contains('\n'), "{error}");
}

#[test]
fn a_line_with_an_address_is_left_out_too() {
    let error = refused("a program", &load(libc::EINVAL, "R1=ffffffff81234567 invalid")).to_string();
    assert!(!error.contains("ffff"), "{error}");
    assert!(!in_one_line(&load(libc::EINVAL, "0: R1=ffffffff81234567\n")).contains("ffff"));
}

#[test]
fn too_many_open_files_are_named_and_not_the_verifier() {
    let error = refused("a program", &load(libc::EMFILE, ADDRESS));
    assert!(matches!(error, AttachError::OpenFiles(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains("RLIMIT_NOFILE") && error.contains("ulimit -n 1024"), "{error}");
}

#[test]
fn a_helper_that_lockdown_takes_away_is_lockdown() {
    for log in [
        "27: (85) call bpf_probe_read_kernel#113\nunknown func bpf_probe_read_kernel#113\n",
        "program of this type cannot use helper bpf_probe_read#4\n",
    ] {
        let error = refused("a program", &load(libc::EINVAL, log));
        assert!(matches!(error, AttachError::Lockdown), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    assert!(known_cause(&load(libc::EINVAL, "unknown func bpf_loop#181")).is_none());
}
