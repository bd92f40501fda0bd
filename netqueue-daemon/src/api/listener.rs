//! What the inventory knows of a listener, as the API writes it: a value or null, and for each null the reason.

use serde::Serialize;

use super::envelope::ByName;
use crate::domain::{Known, Listener, Owner, Place, Timestamp, Unknown};

#[derive(Serialize)]
pub(super) struct ListenerView {
    inode: u64,
    /// As text: it may be beyond what a JSON number holds everywhere.
    cookie: Option<String>,
    family: &'static str,
    interface: Option<u32>,
    uid: u32,
    reuseport: Option<ReuseportView>,
    limit: LimitView,
    owners: Option<Vec<OwnerView>>,
    opened: Option<String>,
    found: String,
    closed: Option<String>,
    unknown: Vec<UnknownView>,
}

#[derive(Serialize)]
struct ReuseportView {
    members: u32,
    member: u32,
}

/// What bounds the queues. The accept queue holds one more than `backlog`.
#[derive(Serialize)]
struct LimitView {
    backlog: Option<u32>,
    limited_by: &'static str,
    listen_argument: Option<i32>,
    somaxconn_then: Option<u32>,
    syn_last_quarter: Option<u32>,
    sysctls: ByName<Option<u32>>,
}

#[derive(Serialize)]
struct OwnerView {
    pid: u32,
    comm: String,
    executable: Option<String>,
    cgroup: Option<String>,
    unit: Option<String>,
    container: Option<String>,
    runtime: Option<&'static str>,
    pod: Option<String>,
    ended: bool,
}

/// Something that is not known.
#[derive(Serialize)]
struct UnknownView {
    what: &'static str,
    why: &'static str,
    detail: String,
}

impl ListenerView {
    pub(super) fn of(listener: &Listener) -> Self {
        let limit = &listener.limit;
        let sysctls = limit.sysctls.named().map(|(name, value)| (name, value.ok())).collect();
        let owners = listener.owners.as_ref().ok().map(|owners| owners.iter().map(OwnerView::of).collect());
        Self {
            inode: listener.inode.0,
            cookie: listener.cookie.ok().map(|cookie| cookie.to_string()),
            family: listener.family.as_str(),
            interface: listener.interface,
            uid: listener.uid,
            reuseport: listener
                .reuseport
                .map(|group| ReuseportView { members: group.members, member: group.member }),
            limit: LimitView {
                backlog: limit.backlog.ok(),
                limited_by: limit.limited_by().as_str(),
                listen_argument: limit.argument.ok(),
                somaxconn_then: limit.somaxconn_then.ok(),
                syn_last_quarter: limit.sysctls.last_quarter(),
                sysctls: ByName(sysctls),
            },
            owners,
            opened: listener.opened.ok().map(Timestamp::to_rfc3339),
            found: listener.found.to_rfc3339(),
            closed: listener.closed.map(Timestamp::to_rfc3339),
            unknown: unknown(listener),
        }
    }
}

impl OwnerView {
    fn of(owner: &Owner) -> Self {
        let place = owner.place.as_deref().ok();
        let part = |part: fn(&Place) -> Option<&str>| place.and_then(part).map(str::to_owned);
        Self {
            pid: owner.pid,
            comm: owner.comm.to_string(),
            executable: owner.executable.as_deref().ok().map(str::to_owned),
            cgroup: part(|place| Some(&place.cgroup)),
            unit: part(|place| place.unit.as_deref()),
            container: part(|place| place.container.as_deref()),
            runtime: place.and_then(|place| place.runtime).map(|runtime| runtime.as_str()),
            pod: part(|place| place.pod.as_deref()),
            ended: owner.ended,
        }
    }
}

fn unknown(listener: &Listener) -> Vec<UnknownView> {
    let limit = &listener.limit;
    let sysctls = limit.sysctls.named().map(|(name, value)| (name, value.err()));
    let owner = |part: fn(&Owner) -> Option<Unknown>| {
        listener.owners.as_ref().ok().and_then(|owners| owners.iter().find_map(part))
    };
    let members = [
        ("cookie", listener.cookie.err()),
        ("backlog", limit.backlog.err()),
        ("listen_argument", limit.argument.err()),
        ("somaxconn_then", limit.somaxconn_then.err()),
        ("owners", why(&listener.owners)),
        ("executable", owner(|owner| why(&owner.executable))),
        ("cgroup", owner(|owner| why(&owner.place))),
        ("opened", listener.opened.err()),
    ];
    let unknown = members.into_iter().chain(sysctls).filter_map(|(what, why)| Some((what, why?)));
    unknown.map(|(what, why)| UnknownView { what, why: why.as_str(), detail: why.to_string() }).collect()
}

fn why<T>(known: &Known<T>) -> Option<Unknown> {
    known.as_ref().err().copied()
}
