//! Tests on paths as the runtimes write them.

use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "6ad3b5f0-1c2d-4e5f-8a9b-0c1d2e3f4a5b";
const POD_: &str = "6ad3b5f0_1c2d_4e5f_8a9b_0c1d2e3f4a5b";

/// Parses a `/proc/PID/cgroup` of version 2 with this path; `ID`, `POD` and `POD_` are filled in.
fn place(path: &str) -> CgroupInfo {
    let path = path.replace("POD_", POD_).replace("POD", POD).replace("ID", ID);
    parse(&format!("0::{path}\n")).expect("it has a line")
}

fn shown(place: &CgroupInfo) -> (Option<Runtime>, Option<&str>, Option<&str>, Option<&str>) {
    (place.runtime, place.container.as_deref(), place.pod.as_deref(), place.unit.as_deref())
}

#[test]
fn every_runtimes_layout_leads_to_container_and_pod() {
    use Runtime::*;
    let id = Some(ID);
    let pod = Some(POD);
    for (path, runtime, container, pod) in [
        ("/system.slice/docker-ID.scope", Docker, id, None),
        ("/docker/ID", Docker, id, None),
        ("/docker/ID/init", Docker, id, None),
        ("/system.slice/docker-ID.scope/nested/cgroup", Docker, id, None),
        ("/docker/buildx/ID", Docker, id, None),
        ("/machine.slice/libpod-ID.scope", Podman, id, None),
        ("/machine.slice/libpod-ID.scope/container", Podman, id, None),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            Podman,
            id,
            None,
        ),
        ("/libpod_parent/libpod-ID", Podman, id, None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-ID.scope", Containerd, id, None),
        ("/default/ID", Containerd, id, None),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            Containerd,
            id,
            pod,
        ),
        ("/kubepods.slice/kubepods-podPOD_.slice/cri-containerd-ID.scope", Containerd, id, pod),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope",
            Crio,
            id,
            pod,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope/container",
            Crio,
            id,
            pod,
        ),
        ("/kubepods/burstable/podPOD/ID", Kubernetes, id, pod),
        ("/kubepods/podPOD/ID", Kubernetes, id, pod),
        ("/kubepods/burstable/podPOD/crio-ID", Crio, id, pod),
        ("/kubepods.slice/kubepods-podPOD_.slice/docker-ID.scope", Docker, id, pod),
        (
            "/system.slice/containerd.service/kubepods-burstable-podPOD_.slice:cri-containerd:ID",
            Containerd,
            id,
            pod,
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            Containerd,
            id,
            pod,
        ),
        (
            "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podPOD_.slice/cri-containerd-ID.scope",
            Containerd,
            id,
            pod,
        ),
        ("/../../kubepods-podPOD_.slice/cri-containerd-ID.scope", Containerd, id, pod),
        ("/ecs/0123456789abcdef0123456789abcdef/ID", Ecs, id, None),
        (
            "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567",
            Ecs,
            Some("0123456789abcdef0123456789abcdef-1234567"),
            None,
        ),
        ("/lxc/web", Lxc, Some("web"), None),
        ("/lxc.payload.web/system.slice/nginx.service", Lxc, Some("web"), None),
        ("/lxc.payload/web", Lxc, Some("web"), None),
        ("/machine.slice/machine-fedora\\x2d40.scope/payload", Machine, Some("fedora-40"), None),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
            Machine,
            Some("web"),
            None,
        ),
    ] {
        let place = place(path);
        let (found_runtime, found, found_pod, _) = shown(&place);
        assert_eq!((found_runtime, found, found_pod), (Some(runtime), container, pod), "{path}");
    }
}

#[test]
fn a_static_pods_uid_is_a_hash() {
    let hash = "0123456789abcdef0123456789abcdef";
    let place = place(&format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice/crio-ID.scope"
    ));
    assert_eq!(place.pod.as_deref(), Some(hash));
}

#[test]
fn the_innermost_service_or_scope_is_the_unit() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            Some("postgresql@15-main.service"),
        ),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/dev.service", Some("dev.service")),
        ("/user.slice/user-0.slice/session-3.scope", Some("session-3.scope")),
        ("/init.scope", Some("init.scope")),
        ("/system.slice/docker-ID.scope", Some(&*format!("docker-{ID}.scope"))),
        ("/system.slice", None),
        ("/", None),
        ("/kubepods/burstable/podPOD/ID", None),
        ("/system.slice/.service", None),
    ] {
        assert_eq!(place(path).unit.as_deref(), unit, "{path}");
    }
}

#[test]
fn what_only_looks_like_a_container_is_none() {
    for path in [
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/kubepods-podPOD_.slice/crio-conmon-ID.scope",
        "/system.slice/docker-0123.scope",
        "/user.slice/ID",
        "/ID",
        "/kubepods.slice/kubepods-podzebra.slice",
        "/system.slice/podcast-podium.service",
    ] {
        let place = place(path);
        assert_eq!((place.container, place.runtime), (None, None), "{path}");
    }
    assert_eq!(
        place("/kubepods.slice/kubepods-podPOD_.slice").pod.as_deref(),
        Some(POD),
        "a pod's own cgroup"
    );
    assert_eq!(place("/system.slice/podcast-podium.service").pod, None);
}

#[test]
fn of_version_1_the_hierarchy_that_says_most_is_taken() {
    let docker =
        format!("12:pids:/docker/{ID}\n2:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
    assert_eq!(parse(&docker).expect("lines").container.as_deref(), Some(ID));
    let partly =
        format!("12:pids:/\n1:name=systemd:/system.slice/cron.service\n3:memory:/docker/{ID}\n0::/\n");
    assert_eq!(parse(&partly).expect("lines").container.as_deref(), Some(ID));
    let service =
        "12:pids:/system.slice\n1:name=systemd:/system.slice/nginx.service\n0::/system.slice/nginx.service\n";
    assert_eq!(parse(service).expect("lines").unit.as_deref(), Some("nginx.service"));
    let none = "12:pids:/\n1:name=systemd:/\n";
    assert_eq!(parse(none).expect("lines").cgroup.as_ref(), "/");
    assert_eq!(parse(""), None);
}

#[test]
fn a_colon_in_a_path_belongs_to_the_path() {
    assert_eq!(place("/system.slice/odd:name.service").cgroup.as_ref(), "/system.slice/odd:name.service");
}

proptest! {
    #[test]
    fn whatever_a_path_holds_the_place_is_printable_and_short(path in any::<String>()) {
        if let Some(place) = parse(&format!("0::/{path}\n1:name=systemd:/{path}\n")) {
            let parts = [Some(place.cgroup), place.unit, place.container, place.pod];
            for part in parts.into_iter().flatten() {
                prop_assert!(part.chars().count() <= LONGEST_PATH && !part.chars().any(char::is_control));
            }
        }
    }
}
