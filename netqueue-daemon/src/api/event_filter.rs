//! Which events a client asks for.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::{
    moment,
    params::Params,
    place::{PlaceFilter, address},
    problem::Problem,
};
use crate::domain::{AccountId, AccountKey, DropKind, Event, ResetCause, Snapshot, Stage, Timestamp};

/// The events asked for.
#[derive(Clone)]
pub(super) struct EventFilter {
    /// Charged to this account.
    pub(super) listener: Option<AccountId>,
    /// Not before this.
    pub(super) start: Option<Timestamp>,
    /// Before this.
    pub(super) end: Option<Timestamp>,
    since: Option<Timestamp>,
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
pub(super) const KINDS: [&str; 2] = ["drop", "reset"];

/// Whom events are charged to: id and process by account.
pub(super) type Charged = HashMap<AccountKey, (AccountId, Arc<str>)>;

/// All accounts of a snapshot.
pub(super) fn charged(snapshot: &Snapshot) -> Charged {
    let entry =
        |account: &crate::domain::AccountView| (account.key, (account.id, Arc::clone(&account.process)));
    snapshot.accounts.iter().map(entry).collect()
}

impl EventFilter {
    /// The parameters it is made of.
    pub(super) const PARAMS: [&str; 12] = [
        "start", "end", "since", "listener", "netns", "addr", "port", "process", "kind", "cause", "stage",
        "peer",
    ];

    pub(super) fn from_params(params: &Params) -> Result<Self, Problem> {
        let id = |id: &str| id.parse().ok().map(AccountId);
        let moment = |name| params.get(name, moment::EXPECTED, moment::parse);
        Ok(Self {
            listener: params.get("listener", "the id of a listener, see /api/v1/listeners", id)?,
            start: moment("start")?,
            end: moment("end")?,
            since: moment("since")?,
            place: PlaceFilter::from_params(params)?,
            process: params.get("process", "the name of a process", |name| Some(name.to_owned()))?,
            kind: params.one_of("kind", &KINDS)?,
            cause: params.one_of("cause", &causes())?,
            stage: params.one_of("stage", &STAGES)?,
            peer: params.get("peer", "an IP address such as 10.0.0.1 or 2001:db8::1", address)?,
        })
    }

    /// The earliest moment an event asked for can have.
    pub(super) fn earliest(&self) -> Timestamp {
        self.start.max(self.since).unwrap_or_default()
    }

    /// Whether `event` is asked for.
    pub(super) fn admits(&self, snapshot: &Snapshot, charged: &Charged, event: &Event) -> bool {
        let account = || charged.get(&event.account);
        self.since.is_none_or(|since| event.time > since)
            && self.start.is_none_or(|start| event.time >= start)
            && self.end.is_none_or(|end| event.time < end)
            && self.kind.is_none_or(|kind| event.what.kind() == kind)
            && self.cause.is_none_or(|cause| event.what.cause() == cause)
            && self.stage.is_none_or(|stage| event.what.stage() == Some(stage))
            && self.peer.is_none_or(|addr| event.peer.is_some_and(|peer| peer.addr == addr))
            && self.place.admits_event(snapshot, event)
            && self.listener.is_none_or(|wanted| account().is_some_and(|(id, _)| *id == wanted))
            && self.process.as_deref().is_none_or(|name| account().map_or("", |(_, process)| process) == name)
    }

    /// What the client should know of the question itself.
    pub(super) fn remarks(&self, snapshot: &Snapshot) -> Vec<String> {
        let unknown = self.listener.filter(|id| !snapshot.accounts.iter().any(|account| account.id == *id));
        let unknown = unknown.map(|id| format!("no listener has the id {}: see /api/v1/listeners", id.0));
        let empty = self.start.zip(self.end).is_some_and(|(start, end)| start >= end);
        let empty = empty.then(|| "`start` is not before `end`: nothing lies between them".to_owned());
        unknown.into_iter().chain(empty).collect()
    }
}

/// Every cause of a drop or a reset, each once.
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
