//! Accounts that a selector matches, as stories: members of one address and port together, the worst
//! first.

use std::{cmp::Reverse, collections::BTreeMap, io::Write as _};

use netqueue_api::{AccountKind, Listener, Owner, Part, Verdict};

use super::{
    client_args::{Failure, Output},
    format,
    selector::takes,
    style,
    table::{Cell, Column, Table},
    terminal::plain,
};

/// Maximum number of rows in a table of accounts.
const ROWS: usize = 20;

/// Accounts of one address and port of a namespace.
pub(super) struct Story<'a> {
    /// Accounts, the worst first.
    pub(super) members: Vec<&'a Listener>,
    /// Place of the first verdict on a member among all verdicts.
    verdict: Option<usize>,
}

impl Story<'_> {
    /// Returns the sum of drops and resets of all members.
    fn harm(&self) -> (u64, u64) {
        let sum = |of: fn(&Listener) -> u64| self.members.iter().map(|one| of(one)).sum();
        // Each member has the resets of all their connections.
        let connections = self.members.iter().map(|one| one.connection_resets.total).max().unwrap_or(0);
        (sum(|one| one.drops.total), sum(|one| one.resets.total) + connections)
    }

    /// Returns whether a member has a verdict, or has dropped or reset something.
    pub(super) fn is_troubled(&self) -> bool {
        self.verdict.is_some() || self.harm() != (0, 0)
    }
}

/// Groups accounts and sorts the groups: those with verdicts first, in the order of the verdicts,
/// then by drops and resets. An endpoint that has only resets of a listener's connections is part of
/// the listener's story.
pub(super) fn stories<'a>(meant: &[&'a Listener], verdicts: &[&Verdict]) -> Vec<Story<'a>> {
    let verdict_on = |listener: &Listener| {
        verdicts.iter().position(|verdict| verdict.subject.listener.as_ref() == Some(&listener.id))
    };
    let place = |listener: &Listener| {
        let absorbed = meant.iter().filter(|other| is_part_of(other, listener));
        absorbed.filter_map(|other| verdict_on(other)).chain(verdict_on(listener)).min()
    };
    let worst =
        |one: &&Listener| (place(one).unwrap_or(usize::MAX), Reverse((one.drops.total, one.resets.total)));
    let mut groups: BTreeMap<_, Vec<&Listener>> = BTreeMap::new();
    for listener in meant.iter().copied() {
        if meant.iter().any(|other| is_part_of(listener, other)) {
            continue;
        }
        let own = match listener.kind {
            // Closed listeners of the address came before: their stories are their own.
            AccountKind::Listener if listener.closed.is_none() => String::new(),
            _ => listener.id.clone(),
        };
        let key = (listener.netns_inode, listener.netns_generation, listener.addr, listener.port, own);
        groups.entry(key).or_default().push(listener);
    }
    let mut stories: Vec<_> = groups
        .into_values()
        .map(|mut members| {
            members.sort_by_key(worst);
            let verdict = members.iter().filter_map(|one| place(one)).min();
            Story { members, verdict }
        })
        .collect();
    stories.sort_by_key(|story| (story.verdict.unwrap_or(usize::MAX), Reverse(story.harm())));
    stories
}

/// Returns whether an endpoint has nothing but resets of connections that the listener took.
fn is_part_of(endpoint: &Listener, listener: &Listener) -> bool {
    let told = &listener.connection_resets.by_cause;
    endpoint.kind == AccountKind::Endpoint
        && listener.connection_resets.total > 0
        && (endpoint.netns_inode, endpoint.port) == (listener.netns_inode, listener.port)
        && endpoint.addr.is_some_and(|addr| takes(listener, addr))
        && endpoint.drops.total == 0
        && endpoint.resets.by_cause.iter().all(|part| told.iter().any(|one| one.cause == part.cause))
}

/// Says how many listeners there are and which of them is in trouble.
pub(super) fn headline(name: &str, stories: &[Story<'_>]) -> String {
    let all: usize = stories.iter().map(|story| story.members.len()).sum();
    let listeners =
        stories.iter().flat_map(|story| &story.members).all(|one| one.kind == AccountKind::Listener);
    let noun = if listeners { "listener" } else { "account" };
    let troubled: Vec<_> = stories.iter().filter(|story| story.is_troubled()).collect();
    let counted = format::plural(all as u64, noun);
    let whose = match troubled.as_slice() {
        [] => "none has dropped or reset anything".to_owned(),
        [one] => format!("one has dropped or reset something: {}", described(one.members[0])),
        [worst, ..] => {
            format!(
                "{} have dropped or reset something, the worst: {}",
                troubled.len(),
                described(worst.members[0])
            )
        }
    };
    format!("{name}: {counted}; {whose}.")
}

/// Describes an account by address, namespace, process, and container or unit.
pub(super) fn described(listener: &Listener) -> String {
    let parts = [whose(listener), place(listener)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let place = format::listener(listener);
    if parts.is_empty() { place } else { format!("{place} ({})", parts.join(", ")) }
}

fn owner(listener: &Listener) -> Option<&Owner> {
    listener.listener.as_ref()?.owners.as_ref()?.first()
}

fn whose(listener: &Listener) -> String {
    match owner(listener) {
        Some(owner) => format!("{} {}", plain(&owner.comm), owner.pid),
        None => plain(&listener.process),
    }
}

/// Names the pod, container or unit of an account's process.
fn place(listener: &Listener) -> String {
    const SHORT_ID: usize = 12;
    let Some(owner) = owner(listener) else { return String::new() };
    let container = owner
        .container
        .as_ref()
        .map(|id| format!("container {}", plain(&id.chars().take(SHORT_ID).collect::<String>())));
    let parts = [owner.pod.as_ref().map(|pod| format!("pod {}", plain(pod))), container];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { owner.unit.as_deref().map(plain).unwrap_or_default() } else { parts.join(", ") }
}

/// Prints the members of a story in one line each, if there are several.
pub(super) fn members(paper: &mut Output, story: &Story<'_>) -> Result<(), Failure> {
    if story.members.len() < 2 {
        return Ok(());
    }
    let (drops, resets) = story.harm();
    let count = story.members.len();
    let text = format!(
        "{count} listeners share it (SO_REUSEPORT): {} and {} in all.",
        format::plural(drops, "drop"),
        format::plural(resets, "reset")
    );
    paper.text("  ", &text)?;
    table(&story.members).write(&mut paper.out, paper.width)?;
    Ok(())
}

/// Prints accounts as a table, the worst first.
pub(super) fn list(paper: &mut Output, stories: &[Story<'_>]) -> Result<(), Failure> {
    let all: Vec<_> = stories.iter().flat_map(|story| story.members.iter().copied()).collect();
    table(&all).write(&mut paper.out, paper.width)?;
    if let Some(more) = all.len().checked_sub(ROWS).filter(|more| *more > 0) {
        writeln!(
            paper.out,
            "And {}, with fewer drops: see `netqueue listeners`.",
            format::plural(more as u64, "other")
        )?;
    }
    Ok(())
}

fn table(accounts: &[&Listener]) -> Table {
    let mut table = Table::new([
        Column::text("LISTENER").at_least(12),
        Column::text("OWNER").at_least(8),
        Column::number("DROPPED"),
        Column::number("RESETS"),
        Column::text("ID"),
        Column::text("MOSTLY BECAUSE").at_least(14).optional(),
        Column::text("NETNS").at_least(4).optional(),
        Column::text("WHERE").at_least(8).optional(),
    ]);
    for one in accounts.iter().take(ROWS) {
        let part = Part::largest(one.drops.parts()).or_else(|| Part::largest(one.resets.parts()));
        table.push([
            Cell::styled(format::place(one.addr, one.port), style::HEAD),
            whose(one).into(),
            format::count(one.drops.total).into(),
            format::count(one.resets.total).into(),
            format!("id:{}", plain(&one.id)).into(),
            part.map_or_else(String::new, |part| plain(part.cause)).into(),
            plain(&one.netns).into(),
            place(one).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listener(id: u32, inode: u32, drops: u64) -> Listener {
        serde_json::from_value(json!({
            "id": id.to_string(), "kind": "listener", "netns": format!("shop-{inode}"), "netns_inode": inode,
            "addr": "0.0.0.0", "port": 8080, "process": "gunicorn",
            "drops": {"total": drops, "by_cause": []}, "resets": {"total": 0, "by_cause": []},
            "listener": {"owners": [{"pid": 4711, "comm": "gunicorn", "pod": "7d9f", "container": "0123456789abcdef"}]},
        }))
        .expect("a listener")
    }

    #[test]
    fn the_one_of_many_that_dropped_is_named_first_with_its_process_and_place() {
        let all: Vec<_> = (1..=46).map(|n| listener(n, n, if n == 38 { 170_530 } else { 0 })).collect();
        let all: Vec<_> = all.iter().collect();
        let stories = stories(&all, &[]);
        assert_eq!((stories.len(), stories[0].members[0].id.as_str()), (46, "38"));
        assert_eq!(
            headline("port 8080", &stories),
            "port 8080: 46 listeners; one has dropped or reset something: 0.0.0.0:8080 in shop-38 (gunicorn 4711, pod 7d9f, \
             container 0123456789ab)."
        );
    }

    #[test]
    fn members_of_one_address_and_port_are_one_story() {
        let all = [listener(1, 7, 3), listener(2, 7, 9), listener(3, 8, 1)];
        let all: Vec<_> = all.iter().collect();
        let stories = stories(&all, &[]);
        let ids: Vec<Vec<_>> =
            stories.iter().map(|story| story.members.iter().map(|one| one.id.as_str()).collect()).collect();
        assert_eq!(ids, [vec!["2", "1"], vec!["3"]]);
        assert_eq!(stories[0].harm(), (12, 0));
    }

    #[test]
    fn resets_of_accepted_connections_are_part_of_the_listeners_story() {
        let lingered = json!({"total": 37, "by_cause": [{"cause": "linger_zero", "count": 37}]});
        let mut web = listener(1, 7, 0);
        web.connection_resets = serde_json::from_value(lingered.clone()).expect("resets");
        let endpoint = |resets| -> Listener {
            serde_json::from_value(json!({
                "id": "2", "kind": "endpoint", "netns": "shop-7", "netns_inode": 7, "addr": "10.0.0.5", "port": 8080,
                "drops": {"total": 0, "by_cause": []}, "resets": resets,
                "listener": null,
            }))
            .expect("an endpoint")
        };
        let mut web_family = web.clone();
        web_family.listener.as_mut().expect("a socket").family = "ipv4".to_owned();
        let taken = endpoint(lingered);
        let told = stories(&[&web_family, &taken], &[]);
        assert_eq!((told.len(), told[0].harm()), (1, (0, 37)));
        let refused = endpoint(json!({"total": 5, "by_cause": [{"cause": "no_listener", "count": 5}]}));
        assert_eq!(stories(&[&web_family, &refused], &[]).len(), 2);
    }

    #[test]
    fn without_trouble_none_is_blamed() {
        let all = [listener(1, 7, 0), listener(2, 8, 0)];
        let all: Vec<_> = all.iter().collect();
        assert_eq!(
            headline("port 8080", &stories(&all, &[])),
            "port 8080: 2 listeners; none has dropped or reset anything."
        );
    }
}
