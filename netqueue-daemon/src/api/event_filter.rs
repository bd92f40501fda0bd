//! Which events a client asks for.

use std::net::IpAddr;

use super::{
    moment,
    params::Params,
    place::{PlaceFilter, address},
    problem::Problem,
};
use crate::domain::{AccountId, DropKind, Event, ResetCause, Snapshot, Stage, Timestamp};

/// The events asked for, and how many of them.
pub(super) struct EventFilter {
    /// Of the newest, so many.
    pub(super) limit: usize,
    /// Charged to this account.
    pub(super) listener: Option<AccountId>,
    since: Option<Timestamp>,
    place: PlaceFilter,
    kind: Option<&'static str>,
    cause: Option<&'static str>,
    stage: Option<&'static str>,
    peer: Option<IpAddr>,
}

const MOST: usize = 1000;
const STAGES: [&str; 3] = [Stage::Syn.as_str(), Stage::Ack.as_str(), Stage::CookieAck.as_str()];

impl EventFilter {
    pub(super) fn from_params(params: Params) -> Result<Self, Problem> {
        let [netns, addr, port] = PlaceFilter::PARAMS;
        let params = params
            .only(&["limit", "since", "listener", netns, addr, port, "kind", "cause", "stage", "peer"])?;
        let limit = params.get("limit", &format!("a number, 1 to {MOST}"), |limit| {
            limit.parse().ok().filter(|limit| (1..=MOST).contains(limit))
        })?;
        let id = |id: &str| id.parse().ok().map(AccountId);
        Ok(Self {
            limit: limit.unwrap_or(100),
            listener: params.get("listener", "the id of a listener, see /api/v1/listeners", id)?,
            since: params.get("since", moment::EXPECTED, moment::parse)?,
            place: PlaceFilter::from_params(&params)?,
            kind: params.one_of("kind", &["drop", "reset"])?,
            cause: params.one_of("cause", &causes())?,
            stage: params.one_of("stage", &STAGES)?,
            peer: params.get("peer", "an IP address such as 10.0.0.1 or 2001:db8::1", address)?,
        })
    }

    /// Whether `event`, charged to the account `listener`, is asked for.
    pub(super) fn admits(&self, snapshot: &Snapshot, event: &Event, listener: Option<AccountId>) -> bool {
        self.since.is_none_or(|since| event.time > since)
            && self.listener.is_none_or(|wanted| listener == Some(wanted))
            && self.kind.is_none_or(|kind| event.what.kind() == kind)
            && self.cause.is_none_or(|cause| event.what.cause() == cause)
            && self.stage.is_none_or(|stage| event.what.stage() == Some(stage))
            && self.peer.is_none_or(|addr| event.peer.is_some_and(|peer| peer.addr == addr))
            && self.place.admits_event(snapshot, event)
    }
}

/// Every cause of a drop or a reset, each once.
fn causes() -> Vec<&'static str> {
    let drops = DropKind::ALL.into_iter().map(|kind| kind.cause().as_str());
    let mut causes = Vec::new();
    for cause in drops.chain(ResetCause::ALL.map(ResetCause::as_str)) {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}
