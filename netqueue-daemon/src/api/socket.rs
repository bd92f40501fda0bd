//! Conversion of a listener's socket to its API representation.

use netqueue_api::{Limit, Owner, Reuseport, Socket, Unknown};
use netqueue_domain::{self as domain, CgroupInfo, Known, WallClock};

pub(super) fn socket_from(listener: &domain::Listener, clock: WallClock) -> Socket {
    let limit = &listener.limit;
    let sysctls = limit.sysctls.named().map(|(name, value)| (name.to_owned(), value.ok())).collect();
    let owners = listener.owners.as_ref().ok().map(|owners| owners.iter().map(owner_from).collect());
    Socket {
        inode: listener.inode.0,
        cookie: listener.cookie.ok().map(|cookie| cookie.to_string()),
        family: listener.family.as_str().to_owned(),
        interface: listener.interface,
        uid: listener.uid,
        reuseport: listener.reuseport.map(|group| Reuseport { members: group.members, member: group.member }),
        limit: Limit {
            backlog: limit.backlog.ok(),
            limited_by: limit.limited_by().as_str().to_owned(),
            listen_argument: limit.argument.ok(),
            somaxconn_then: limit.somaxconn_then.ok(),
            syn_last_quarter: limit.sysctls.last_quarter(),
            sysctls,
        },
        owners,
        opened: listener.opened.ok().map(|opened| clock.rfc3339(opened)),
        found: clock.rfc3339(listener.found),
        closed: listener.closed.map(|closed| clock.rfc3339(closed)),
        unknown: unknown(listener),
    }
}

fn owner_from(owner: &domain::Owner) -> Owner {
    let place = owner.place.as_deref().ok();
    let part = |part: fn(&CgroupInfo) -> Option<&str>| place.and_then(part).map(str::to_owned);
    Owner {
        pid: owner.pid,
        comm: owner.comm.to_string(),
        executable: owner.executable.as_deref().ok().map(str::to_owned),
        cgroup: part(|place| Some(&place.cgroup)),
        unit: part(|place| place.unit.as_deref()),
        container: part(|place| place.container.as_deref()),
        runtime: place.and_then(|place| place.runtime).map(|runtime| runtime.as_str().to_owned()),
        pod: part(|place| place.pod.as_deref()),
        ended: owner.ended,
    }
}

fn unknown(listener: &domain::Listener) -> Vec<Unknown> {
    let limit = &listener.limit;
    let sysctls = limit.sysctls.named().map(|(name, value)| (name, value.err()));
    let owner = |part: fn(&domain::Owner) -> Option<domain::Unknown>| {
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
    unknown
        .map(|(what, why)| Unknown {
            what: what.to_owned(),
            why: why.as_str().to_owned(),
            detail: why.to_string(),
        })
        .collect()
}

fn why<T>(known: &Known<T>) -> Option<domain::Unknown> {
    known.as_ref().err().copied()
}
