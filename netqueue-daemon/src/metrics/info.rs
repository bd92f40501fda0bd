//! What each listener is: whose, where, and what bounds it.

use std::collections::BTreeMap;

use super::{
    family::{Family, Kind, Scraped},
    series::{LABELS, Series},
};
use crate::domain::{AccountView, Place, Snapshot};

const INFO: Family<10> = Family {
    name: "netqueue_listener_info",
    help: "What a listener that lives is; always 1. limited_by says which term decided its backlog.",
    kind: Kind::Gauge,
    labels: [
        LABELS[0],
        LABELS[1],
        LABELS[2],
        LABELS[3],
        "family",
        "cgroup",
        "container",
        "unit",
        "backlog",
        "limited_by",
    ],
};

const MEMBERS: Family<4> = Family {
    name: "netqueue_listeners",
    help: "Listeners with these labels that live: more than 1 is a SO_REUSEPORT group.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const CENSUS: Family<1> = Family {
    name: "netqueue_inventory_seconds_total",
    help: "Time the inventory of listeners has taken; part=\"owners\" is what of it went into looking for their processes.",
    kind: Kind::Counter,
    labels: ["part"],
};

const LOOKS: Family<1> = Family {
    name: "netqueue_inventory_passes_total",
    help: "Times all listeners, and all processes for their owners, were looked at.",
    kind: Kind::Counter,
    labels: ["part"],
};

/// The families of these series.
pub(super) fn families(snapshot: &Snapshot, series: &[Series]) -> prometheus::Result<Vec<Scraped>> {
    let mut info: BTreeMap<[String; 10], ()> = BTreeMap::new();
    let mut members: BTreeMap<[String; 4], u32> = BTreeMap::new();
    let own_places = series.iter().filter(|series| series.listener).map(|series| &series.labels);
    let own_places: std::collections::HashSet<_> = own_places.collect();
    for account in snapshot.accounts.iter().filter(|account| account.closed.is_none()) {
        let labels = super::series::place(snapshot, &account.key, &account.process);
        if let Some(of) = own_places.get(&labels).and_then(|_| labels_of(account, &labels)) {
            info.insert(of, ());
            *members.entry(labels).or_default() += 1;
        }
    }
    let census = &snapshot.health.census;
    let parts = |all: f64, owners: f64| [(["all".to_owned()], all), (["owners".to_owned()], owners)];
    Ok(vec![
        CENSUS.with(parts(census.took.as_secs_f64(), census.owners.took.as_secs_f64()))?,
        LOOKS.with(parts(census.looks as f64, census.owners.passes as f64))?,
        INFO.with(info.into_keys().map(|labels| (labels, 1.0)))?,
        MEMBERS.with(members.into_iter().map(|(labels, number)| (labels, f64::from(number))))?,
    ])
}

fn labels_of(account: &AccountView, place: &[String; 4]) -> Option<[String; 10]> {
    let listener = account.listener.as_deref()?;
    let owner = listener.owner().and_then(|owner| owner.place.as_deref().ok());
    let part = |part: fn(&Place) -> Option<&str>| owner.and_then(part).unwrap_or_default().to_owned();
    let [netns, addr, port, process] = place.clone();
    Some([
        netns,
        addr,
        port,
        process,
        listener.family.as_str().to_owned(),
        part(|place| Some(&place.cgroup)),
        part(|place| place.container.as_deref()),
        part(|place| place.unit.as_deref()),
        listener.limit.backlog.map(|backlog| backlog.to_string()).unwrap_or_default(),
        listener.limit.limited_by().as_str().to_owned(),
    ])
}
