//! Filter of events by query parameters.

use std::{borrow::Cow, collections::HashMap, net::IpAddr};

use netqueue_api::EventKind;
use netqueue_domain::{
    AccountId, AccountKey, DropKind, Event, ResetCause, Snapshot, Spike, SpikeScope, Stage, Timestamp,
    WallTime,
};

use super::{
    params::Params,
    place::{PlaceFilter, address},
    problem::Problem,
    timestamp,
};

/// Conditions that an event must meet.
#[derive(Clone)]
pub(super) struct EventFilter {
    /// Account charged.
    pub(super) listener: Option<AccountId>,
    /// Earliest time, inclusive.
    pub(super) start: Option<WallTime>,
    /// Latest time, exclusive.
    pub(super) end: Option<WallTime>,
    since: Option<WallTime>,
    place: PlaceFilter,
    process: Option<String>,
    kind: Option<&'static str>,
    cause: Option<&'static str>,
    stage: Option<&'static str>,
    peer: Option<IpAddr>,
}

/// Stages of a handshake.
pub(super) const STAGES: [&str; 3] = [Stage::Syn.as_str(), Stage::Ack.as_str(), Stage::CookieAck.as_str()];
/// Kinds of events.
pub(super) const KINDS: &[&str] = EventKind::WORDS;

/// Index of accounts by key, to name those that events are charged to, in this run and earlier ones.
pub(super) struct Charged<'a> {
    pub(super) snapshot: &'a Snapshot,
    accounts: HashMap<AccountKey, (AccountId, &'a str)>,
}

/// Account that one event is charged to.
pub(super) struct Whom<'a> {
    /// Id of the account; `None` if this run of the daemon has no such account.
    pub(super) id: Option<AccountId>,
    /// Process that owns the listener; empty while unknown.
    pub(super) process: &'a str,
    /// Name of the network namespace.
    pub(super) netns: Cow<'a, str>,
}

/// Indexes all accounts of a snapshot.
pub(super) fn charged(snapshot: &Snapshot) -> Charged<'_> {
    let accounts = snapshot.accounts.iter().map(|account| (account.key, (account.id, &*account.process)));
    Charged { snapshot, accounts: accounts.collect() }
}

impl<'a> Charged<'a> {
    /// Returns the account that the event with this number is charged to.
    /// Ids are issued anew by each run, so events of earlier runs get the names recorded then and no id.
    pub(super) fn whom(&self, number: u64, account: &AccountKey) -> Whom<'a> {
        let events = &self.snapshot.events;
        if number <= events.before_this_run() {
            let named = events.earlier().named(number, account);
            let netns = named.map_or("", |named| &named.netns);
            return Whom { id: None, process: named.map_or("", |named| &named.process), netns: netns.into() };
        }
        let (id, process) = self.accounts.get(account).map_or((None, ""), |(id, name)| (Some(*id), *name));
        Whom { id, process, netns: self.snapshot.netns_name(account.netns()).into() }
    }
}

impl EventFilter {
    /// Query parameters from which the filter is parsed.
    pub(super) const PARAMS: [&str; 12] = [
        "start", "end", "since", "listener", "netns", "addr", "port", "process", "kind", "cause", "stage",
        "peer",
    ];

    pub(super) fn from_params(params: &Params) -> Result<Self, Problem> {
        let id = |id: &str| id.parse().ok().map(AccountId);
        let moment = |name| params.get(name, timestamp::EXPECTED, timestamp::parse);
        Ok(Self {
            listener: params.get("listener", "the id of a listener, see /api/v1/listeners", id)?,
            start: moment("start")?,
            end: moment("end")?,
            since: moment("since")?,
            place: PlaceFilter::from_params(params)?,
            process: params.get("process", "the name of a process", |name| Some(name.to_owned()))?,
            kind: params.one_of("kind", KINDS)?,
            cause: params.one_of("cause", &causes())?,
            stage: params.one_of("stage", &STAGES)?,
            peer: params.get("peer", "an IP address such as 10.0.0.1 or 2001:db8::1", address)?,
        })
    }

    /// Returns the earliest time that a matching event can have.
    pub(super) fn earliest(&self, snapshot: &Snapshot) -> Timestamp {
        self.start.max(self.since).map_or_else(Timestamp::default, |time| snapshot.wall_clock.find(time))
    }

    /// Returns whether `event` matches.
    pub(super) fn admits(&self, charged: &Charged<'_>, number: u64, event: &Event) -> bool {
        let whom = || charged.whom(number, &event.account);
        let time = charged.snapshot.wall_clock.show(event.time);
        self.since.is_none_or(|since| time > since)
            && self.start.is_none_or(|start| time >= start)
            && self.end.is_none_or(|end| time < end)
            && self.kind.is_none_or(|kind| event.what.kind() == kind)
            && self.cause.is_none_or(|cause| event.what.cause() == cause)
            && self.stage.is_none_or(|stage| event.what.stage() == Some(stage))
            && self.peer.is_none_or(|addr| event.peer.is_some_and(|peer| peer.addr == addr))
            && self.place.admits_event(charged.snapshot, event, || whom().netns)
            && self.listener.is_none_or(|wanted| whom().id == Some(wanted))
            && self.process.as_deref().is_none_or(|name| whom().process == name)
    }

    /// Returns whether matching events may be part of `spike`.
    /// A filter by stage or peer matches none: a spike comprises many of both.
    pub(super) fn admits_spike(&self, snapshot: &Snapshot, spike: &Spike) -> bool {
        let of_one_kind = self.stage.is_none() && self.peer.is_none();
        let drops = self.kind.is_none_or(|kind| kind == "drop");
        let cause = self.cause.is_none_or(|cause| spike.scope.cause() == cause);
        let place = match &spike.scope {
            SpikeScope::Account(key, _) => {
                let account = || snapshot.account(key);
                self.place.admits(snapshot, key)
                    && self
                        .listener
                        .is_none_or(|wanted| account().is_some_and(|account| account.id == wanted))
                    && self
                        .process
                        .as_deref()
                        .is_none_or(|name| account().is_some_and(|account| *account.process == *name))
            }
            SpikeScope::Namespace(netns) => {
                self.listener.is_none()
                    && self.process.is_none()
                    && self.place.admits_all_of(snapshot, *netns)
            }
        };
        of_one_kind && drops && cause && place
    }

    /// Returns warnings about the query itself: an unknown id, an empty period.
    pub(super) fn remarks(&self, snapshot: &Snapshot) -> Vec<String> {
        let unknown = self.listener.filter(|id| !snapshot.accounts.iter().any(|account| account.id == *id));
        let unknown = unknown.map(|id| format!("no listener has the id {}: see /api/v1/listeners", id.0));
        let empty = self.start.zip(self.end).is_some_and(|(start, end)| start >= end);
        let empty = empty.then(|| "`start` is not before `end`: nothing lies between them".to_owned());
        unknown.into_iter().chain(empty).collect()
    }
}

/// Returns every cause of a drop or a reset, without duplicates.
pub(super) fn causes() -> Vec<&'static str> {
    let drops = DropKind::ALL.into_iter().map(|kind| kind.cause().as_str());
    let mut causes = Vec::new();
    for cause in drops.chain(ResetCause::ALL.map(ResetCause::as_str)) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}
