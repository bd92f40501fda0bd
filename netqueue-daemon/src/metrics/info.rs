//! Properties of each listener: process, cgroup, backlog.

use std::borrow::Cow;

use netqueue_domain::{AccountView, CgroupInfo, Snapshot};

use super::{
    family::{Family, Scraped},
    series::LABELS,
    text::Kind,
};

static INFO: Family<10> = Family {
    name: "netqueue_listener_info",
    help: "Properties of an open listener; always 1. limited_by names the setting that decides its backlog.",
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

static MEMBERS: Family<4> = Family {
    name: "netqueue_listeners",
    help: "Open listeners with these labels; more than 1 is a SO_REUSEPORT group.",
    kind: Kind::Gauge,
    labels: LABELS,
};

const CENSUS: Family<1> = Family {
    name: "netqueue_inventory_seconds_total",
    help: "Time spent scanning listeners; part=\"owners\" is the share spent finding the processes that hold them.",
    kind: Kind::Counter,
    labels: ["part"],
};

const LOOKS: Family<1> = Family {
    name: "netqueue_inventory_passes_total",
    help: "Scans of all listeners, and of all processes to find their owners.",
    kind: Kind::Counter,
    labels: ["part"],
};

/// Returns the families on listeners, and on the cost of finding them.
pub(super) fn families(snapshot: &Snapshot) -> Vec<Scraped> {
    let census = &snapshot.health.scans;
    let parts = |all: f64, owners: f64| [(["all".to_owned()], all), (["owners".to_owned()], owners)];
    vec![
        CENSUS.with(parts(census.took.as_secs_f64(), census.owners.took.as_secs_f64())),
        LOOKS.with(parts(census.looks as f64, census.owners.passes as f64)),
        INFO.of_series(|snapshot, series, lines| {
            let members = series.members.iter().filter_map(|index| snapshot.accounts.get(*index as usize));
            let mut kinds: Vec<_> = members.filter_map(|account| labels_of(account)).collect();
            // Members of a group mostly have equal labels.
            kinds.sort_unstable();
            kinds.dedup();
            for [family, cgroup, container, unit, backlog, limited_by] in &kinds {
                lines.sample(series, [family, cgroup, container, unit, backlog, limited_by], 1.0);
            }
        }),
        MEMBERS.of_series(|_, series, lines| {
            if !series.members.is_empty() {
                lines.sample(series, [], series.members.len() as f64);
            }
        }),
    ]
}

/// Returns the values of the labels that follow [`LABELS`]; `None` if the account is no open listener.
fn labels_of(account: &AccountView) -> Option<[Cow<'_, str>; 6]> {
    let listener = account.listener.as_deref()?;
    let owner = listener.owner().and_then(|owner| owner.place.as_deref().ok());
    let part = |part: fn(&CgroupInfo) -> Option<&str>| Cow::from(owner.and_then(part).unwrap_or_default());
    Some([
        listener.family.as_str().into(),
        part(|place| Some(&place.cgroup)),
        part(|place| place.container.as_deref()),
        part(|place| place.unit.as_deref()),
        listener.limit.backlog.map(|backlog| backlog.to_string()).unwrap_or_default().into(),
        listener.limit.limited_by().as_str().into(),
    ])
}
