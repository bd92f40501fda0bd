//! Table of listeners, and the changes that a scan of a namespace makes to it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use netqueue_domain::{
    Endpoint, Known, Limit, ListenCall, Listener, Netns, Owner, Reuseport, SocketInode, Sysctls, Timestamp,
    Unknown,
};

use super::{listen_calls::Calls, netns_probe::Visit, sock_diag::Seen};

/// Open listeners, by namespace.
#[derive(Debug, Default)]
pub(super) struct ListenerTable {
    namespaces: HashMap<Netns, NetnsListeners>,
}

#[derive(Debug)]
struct NetnsListeners {
    sysctls: Arc<Sysctls>,
    listeners: HashMap<SocketInode, Arc<Listener>>,
}

impl ListenerTable {
    /// Returns the namespaces that have an entry.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = Netns> + '_ {
        self.namespaces.keys().copied()
    }

    /// Updates a namespace from a scan. Returns the listeners that are new, changed, or closed.
    pub(super) fn note(
        &mut self,
        netns: Netns,
        visit: Visit,
        calls: &Calls,
        owners: &impl Fn(SocketInode) -> Known<Arc<[Owner]>>,
        now: Timestamp,
    ) -> Vec<Arc<Listener>> {
        let known = self.namespaces.remove(&netns);
        let groups = groups(&visit.listeners);
        let sysctls = match &known {
            Some(page) if *page.sysctls == visit.sysctls => Arc::clone(&page.sysctls),
            Some(_) | None => Arc::new(visit.sysctls),
        };
        // What was opened since the last scan was opened under the sysctls of that time, if they have not
        // changed since.
        let somaxconn = match &known {
            Some(page) if page.sysctls.somaxconn == sysctls.somaxconn => sysctls.somaxconn,
            Some(_) => Err(Unknown::Missed),
            None => Err(Unknown::BeforeAttach),
        };
        let mut before = known.map(|page| page.listeners).unwrap_or_default();
        let mut after = HashMap::with_capacity(visit.listeners.len());
        let mut changed = Vec::new();
        for seen in visit.listeners {
            let at = Endpoint { netns, addr: seen.addr, port: seen.port };
            let inode = seen.inode;
            let earlier = before.remove(&inode);
            let same = earlier.as_ref().filter(|earlier| earlier.at == at);
            if let Some(other) = earlier.as_ref().filter(|earlier| earlier.at != at) {
                changed.push(closed(other, now));
            }
            let reuseport = groups.get(&inode).copied();
            let call = seen.queue.ok().and_then(|queue| calls.of(inode, queue.limit));
            let seen = SearchView { at, seen, call, somaxconn, reuseport };
            let listener = listener(seen, same.map(|known| &**known), &sysctls, now);
            let listener = Listener { owners: latest(owners(inode), same), ..listener };
            let listener = match same {
                Some(known) if **known == listener => Arc::clone(known),
                Some(_) | None => {
                    let listener = Arc::new(listener);
                    changed.push(Arc::clone(&listener));
                    listener
                }
            };
            after.insert(inode, listener);
        }
        changed.extend(before.into_values().map(|gone| closed(&gone, now)));
        self.namespaces.insert(netns, NetnsListeners { sysctls, listeners: after });
        changed
    }

    /// Removes a namespace that has ended. Returns its listeners, closed.
    pub(super) fn forget(&mut self, netns: Netns, now: Timestamp) -> Vec<Arc<Listener>> {
        let page = self.namespaces.remove(&netns);
        page.into_iter()
            .flat_map(|page| page.listeners.into_values())
            .map(|gone| closed(&gone, now))
            .collect()
    }
}

fn closed(listener: &Listener, now: Timestamp) -> Arc<Listener> {
    Arc::new(Listener { closed: Some(now), ..listener.clone() })
}

/// Returns the present owners, or the last ones, marked as ended, if none is found any more.
fn latest(owners: Known<Arc<[Owner]>>, same: Option<&Arc<Listener>>) -> Known<Arc<[Owner]>> {
    let Some(Ok(before)) = same.map(|known| &known.owners) else { return owners };
    match owners {
        Ok(now) => Ok(now),
        Err(_) if before.iter().all(|owner| owner.ended) => Ok(Arc::clone(before)),
        Err(_) => Ok(before.iter().map(|owner| Owner { ended: true, ..owner.clone() }).collect()),
    }
}

/// Listener as found by a scan, with what else is known of its opening.
struct SearchView<'a> {
    at: Endpoint,
    seen: Seen,
    /// Call of listen() that set the present backlog, if it was seen.
    call: Option<&'a ListenCall>,
    /// Value of somaxconn when the listener was opened, if known.
    somaxconn: Known<u32>,
    reuseport: Option<Reuseport>,
}

fn listener(
    sight: SearchView<'_>,
    known: Option<&Listener>,
    sysctls: &Arc<Sysctls>,
    now: Timestamp,
) -> Listener {
    let SearchView { at, seen, call, somaxconn, reuseport } = sight;
    let backlog = seen.queue.map(|queue| queue.limit);
    let limit = match (known, call) {
        (_, Some(call)) => Limit {
            backlog,
            argument: Ok(call.argument),
            // The kernel compares the argument as unsigned; if it is the larger, somaxconn became the
            // backlog.
            somaxconn_then: if call.argument.cast_unsigned() > call.backlog { backlog } else { somaxconn },
            sysctls: Arc::clone(sysctls),
        },
        (Some(known), None) if known.limit.backlog == backlog => {
            Limit { sysctls: Arc::clone(sysctls), ..known.limit.clone() }
        }
        (Some(_) | None, None) => Limit {
            backlog,
            argument: argument(backlog, somaxconn),
            // A backlog equal to somaxconn is either the argument itself or what somaxconn cut it to: either
            // way somaxconn was no higher.
            somaxconn_then: if backlog.is_ok() && backlog == sysctls.somaxconn { backlog } else { somaxconn },
            sysctls: Arc::clone(sysctls),
        },
    };
    Listener {
        at,
        inode: seen.inode,
        cookie: seen.cookie,
        family: seen.family,
        interface: seen.interface,
        uid: seen.uid,
        reuseport,
        limit,
        owners: Err(Unknown::NotYet),
        opened: match (known, call) {
            (Some(known), _) => known.opened,
            (None, Some(call)) => Ok(call.at),
            (None, None) if somaxconn == Err(Unknown::BeforeAttach) => Err(Unknown::BeforeAttach),
            (None, None) => Err(Unknown::Missed),
        },
        found: known.map_or(now, |known| known.found),
        closed: None,
    }
}

/// Infers the argument of listen() from the backlog.
/// A backlog below somaxconn is the argument itself; an equal one comes from any argument at least as high.
fn argument(backlog: Known<u32>, somaxconn: Known<u32>) -> Known<i32> {
    match (backlog?, somaxconn?) {
        (backlog, somaxconn) if backlog < somaxconn => i32::try_from(backlog).map_err(|_| Unknown::CutDown),
        _ => Err(Unknown::CutDown),
    }
}

/// Groups listeners that share address, port and interface: only SO_REUSEPORT allows that.
fn groups(seen: &[Seen]) -> HashMap<SocketInode, Reuseport> {
    let mut by_place: HashMap<_, Vec<SocketInode>> = HashMap::new();
    for one in seen {
        by_place.entry((one.addr, one.port, one.interface)).or_default().push(one.inode);
    }
    let shared = by_place.into_values().filter(|members| members.len() > 1);
    shared
        .flat_map(|mut members| {
            members.sort_unstable();
            let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
            members
                .into_iter()
                .zip(1..)
                .map(move |(inode, member)| (inode, Reuseport { members: count, member }))
        })
        .collect()
}

/// Returns the namespaces of `book` that are not in `found`.
#[must_use]
pub(super) fn vanished(book: &ListenerTable, found: &HashSet<Netns>) -> Vec<Netns> {
    book.namespaces().filter(|netns| !found.contains(netns)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use netqueue_domain::{Family, LimitedBy, QueueState};

    const HOST: Netns = Netns::at_attach(7);

    fn seen(inode: u64, port: u16, limit: u32) -> Seen {
        Seen {
            addr: Ipv4Addr::UNSPECIFIED.into(),
            port,
            inode: SocketInode(inode),
            cookie: Ok(inode),
            family: Family::Ipv4,
            interface: None,
            uid: 0,
            queue: Ok(QueueState { length: 0, limit }),
        }
    }

    fn look(book: &mut ListenerTable, listeners: Vec<Seen>, somaxconn: u32, at: u64) -> Vec<Arc<Listener>> {
        let sysctls = Sysctls { somaxconn: Ok(somaxconn), ..Sysctls::unknown(Unknown::NotYet) };
        let nobody = |_| Err(Unknown::NotYet);
        book.note(HOST, Visit { listeners, sysctls }, &Calls::default(), &nobody, Timestamp::from_nanos(at))
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut book = ListenerTable::default();
        assert_eq!(look(&mut book, vec![seen(1, 80, 128), seen(2, 81, 128)], 4096, 1).len(), 2);
        assert!(look(&mut book, vec![seen(1, 80, 128), seen(2, 81, 128)], 4096, 2).is_empty());
        let changed = look(&mut book, vec![seen(1, 80, 128)], 4096, 3);
        assert_eq!((changed[0].inode, changed[0].closed), (SocketInode(2), Some(Timestamp::from_nanos(3))));
        assert_eq!(book.forget(HOST, Timestamp::from_nanos(4)).len(), 1);
    }

    #[test]
    fn a_raised_somaxconn_is_seen_to_be_without_effect_and_a_new_listen_call_too() {
        let mut book = ListenerTable::default();
        let first = look(&mut book, vec![seen(1, 80, 128)], 128, 1);
        assert_eq!(first[0].limit.limited_by(), LimitedBy::Somaxconn);
        let raised = look(&mut book, vec![seen(1, 80, 128)], 4096, 2);
        assert_eq!(raised[0].limit.limited_by(), LimitedBy::EarlierSomaxconn);
        let again = look(&mut book, vec![seen(1, 80, 511)], 4096, 3);
        assert_eq!(again[0].limit.limited_by(), LimitedBy::ListenArgument);
        assert_eq!(again[0].found, first[0].found);
    }

    #[test]
    fn what_began_before_the_first_look_is_not_explained_by_what_is_now() {
        let mut book = ListenerTable::default();
        let first = look(&mut book, vec![seen(1, 80, 128)], 4096, 1);
        assert_eq!(first[0].limit.limited_by(), LimitedBy::ListenCall);
        let second = look(&mut book, vec![seen(1, 80, 128), seen(2, 81, 5)], 4096, 2);
        assert_eq!(second[0].limit.limited_by(), LimitedBy::ListenArgument);
    }

    #[test]
    fn a_call_that_was_seen_tells_what_somaxconn_cut_down_and_since_when_it_listens() {
        let mut book = ListenerTable::default();
        let mut calls = Calls::default();
        let call = |argument, at| ListenCall {
            at: Timestamp::from_nanos(at),
            inode: SocketInode(1),
            argument,
            backlog: 128,
        };
        let mut look = |calls: &Calls, somaxconn: u32, at: u64| {
            let sysctls = Sysctls { somaxconn: Ok(somaxconn), ..Sysctls::unknown(Unknown::NotYet) };
            let visit = Visit { listeners: vec![seen(1, 80, 128)], sysctls };
            let nobody = |_| Err(Unknown::NotYet);
            book.note(HOST, visit, calls, &nobody, Timestamp::from_nanos(at)).pop()
        };
        calls.hear(vec![call(511, 5)]);
        let first = look(&calls, 128, 9).expect("it is new");
        assert_eq!((first.limit.argument, first.limit.limited_by()), (Ok(511), LimitedBy::Somaxconn));
        assert_eq!(first.opened, Ok(Timestamp::from_nanos(5)));
        // A call is reported once; what it revealed remains.
        let raised = look(&Calls::default(), 4096, 10).expect("the sysctl changed");
        assert_eq!(raised.limit.limited_by(), LimitedBy::EarlierSomaxconn);
        assert_eq!((raised.limit.argument, raised.opened), (Ok(511), first.opened));
        // The program listens again with another argument: the age is still the first call's.
        calls.hear(vec![call(128, 11)]);
        let again = look(&calls, 4096, 12).expect("its argument changed");
        assert_eq!((again.limit.limited_by(), again.opened), (LimitedBy::ListenArgument, first.opened));
    }

    #[test]
    fn listeners_on_one_address_and_port_are_a_group() {
        let mut book = ListenerTable::default();
        let group = look(&mut book, vec![seen(5, 80, 16), seen(3, 80, 16), seen(4, 81, 16)], 4096, 1);
        let members: Vec<_> = group.iter().map(|member| member.reuseport.map(|group| group.member)).collect();
        assert_eq!(members, [Some(2), Some(1), None]);
    }

    #[test]
    fn those_who_held_it_last_are_kept() {
        let owner = Owner {
            pid: 9,
            started: 1,
            comm: "nginx".into(),
            executable: Err(Unknown::NotYet),
            place: Err(Unknown::NotYet),
            ended: false,
        };
        let mut book = ListenerTable::default();
        let sysctls = Sysctls::unknown(Unknown::NotYet);
        let visit = || Visit { listeners: vec![seen(1, 80, 128)], sysctls };
        let held: Arc<[Owner]> = vec![owner].into();
        let by_nginx = |_| Ok(Arc::clone(&held));
        book.note(HOST, visit(), &Calls::default(), &by_nginx, Timestamp::from_nanos(1));
        let by_nobody = |_| Err(Unknown::Nobody);
        let after = book.note(HOST, visit(), &Calls::default(), &by_nobody, Timestamp::from_nanos(2));
        assert!(
            after[0].process() == "nginx" && after[0].owners.as_ref().is_ok_and(|owners| owners[0].ended)
        );
    }
}
