//! Describes the counters of one account in sentences.

use netqueue_api::{AccountKind, Listener, Owner, Part, Queue};
use netqueue_domain::glossary;

use super::{
    format::{count, plural, span, waited},
    limits,
    terminal::plain,
};

/// The tone of a paragraph, which selects its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Good news.
    Good,
    /// Bad news: clients are affected.
    Bad,
    /// A neutral fact.
    Plain,
}

/// One paragraph of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The tone.
    pub tone: Tone,
    /// The sentences.
    pub text: String,
}

/// Describes `listener`; `watched` is the number of seconds since netqueue attached.
#[must_use]
pub fn narrate(listener: &Listener, watched: Option<u64>) -> Vec<Paragraph> {
    let mut said = Vec::new();
    let mut say = |tone, text: String| said.push(Paragraph { tone, text });
    say(Tone::Plain, who(listener));
    let since = watched
        .map_or_else(|| "since netqueue attached".to_owned(), |seconds| format!("in {}", span(seconds)));
    let connections = &listener.connection_resets;
    if listener.drops.total == 0 && listener.resets.total == 0 && connections.total == 0 {
        let waiting = listener.accept_queue.is_some_and(|queue| queue.length > 0);
        let tone = if waiting { Tone::Plain } else { Tone::Good };
        match listener.closed {
            Some(_) => say(tone, "Nothing was dropped and nothing was reset while it was open.".to_owned()),
            None => say(tone, format!("Nothing was dropped and no reset was sent {since}.")),
        }
    }
    if listener.drops.total > 0 {
        let total = plural(listener.drops.total, "packet");
        say(
            Tone::Bad,
            format!("Dropped {total} {since}. Packets, not clients: a client that tries again counts again."),
        );
        causes("drop", listener.drops.parts()).for_each(|text| say(Tone::Plain, text));
    }
    if listener.resets.total > 0 {
        say(Tone::Bad, format!("Sent {} {since}.", plural(listener.resets.total, "reset")));
        causes("reset", listener.resets.parts()).for_each(|text| say(Tone::Plain, text));
    }
    if connections.total > 0 {
        let none = if listener.drops.total == 0 { "No drop. " } else { "" };
        let group = match listener.listener.as_ref().and_then(|socket| socket.reuseport) {
            Some(group) => format!(" (of all {} members of the SO_REUSEPORT group)", group.members),
            None => String::new(),
        };
        say(
            Tone::Bad,
            format!(
                "{none}{} on its accepted connections{group} {since}:",
                plural(connections.total, "reset")
            ),
        );
        causes("reset", connections.parts()).for_each(|text| say(Tone::Plain, text));
    }
    handshakes(listener).into_iter().for_each(|text| say(Tone::Plain, text));
    queues(listener).into_iter().for_each(|(tone, text)| say(tone, text));
    limits::describe(listener).into_iter().chain(traffic(listener)).for_each(|text| say(Tone::Plain, text));
    said
}

fn closed_at(listener: &Listener) -> String {
    let time = listener.closed.as_deref().and_then(|closed| closed.get(11..19));
    time.map_or(String::new(), |time| format!(", closed at {} UTC", plain(time)))
}

fn who(listener: &Listener) -> String {
    let owners = listener.listener.as_ref().and_then(|socket| socket.owners.as_deref()).unwrap_or_default();
    let process = match (owners.first(), listener.process.as_str()) {
        (Some(owner), _) => owner_words(owner, owners.len()),
        (None, "") => "a process netqueue does not know".to_owned(),
        (None, name) => format!("process {}", plain(name)),
    };
    match &listener.kind {
        AccountKind::Listener => {
            format!("A listening socket of {process}{}.", closed_at(listener))
        }
        AccountKind::Endpoint => {
            "An address and port that sent resets in no listener's name: of established connections, or \
                       because nobody listens there."
                .to_owned()
        }
        AccountKind::Ephemeral => {
            "All ports this address connects from as a client, taken together.".to_owned()
        }
        AccountKind::Other => {
            "What did not fit into netqueue's maps in this namespace, taken together: the sum is exact, \
                               who it was is not known."
                .to_owned()
        }
        AccountKind::Gone => {
            "Listeners and ports that ended some time ago, taken together: the sum is exact.".to_owned()
        }
        AccountKind::Unknown(kind) => {
            format!(
                "An account of a kind that this netqueue does not know, {}: the daemon is newer.",
                plain(kind)
            )
        }
    }
}

fn owner_words(owner: &Owner, holders: usize) -> String {
    let mut words = format!("process {} ({})", plain(&owner.comm), owner.pid);
    let parts = [
        ("", &owner.executable),
        ("unit ", &owner.unit),
        ("container ", &owner.container),
        ("pod ", &owner.pod),
    ];
    for (name, part) in parts {
        if let Some(part) = part {
            words.push_str(&format!(", {name}{}", plain(part)));
        }
    }
    if owner.ended {
        words.push_str(", which has ended");
    }
    match holders {
        0 | 1 => words,
        more => format!("{words}, and {} with it", plural(more as u64 - 1, "other")),
    }
}

fn traffic(listener: &Listener) -> Option<String> {
    let traffic = listener.traffic.as_ref().filter(|traffic| traffic.established > 0)?;
    let were = |number| if number == 1 { "was" } else { "were" };
    let accepted =
        traffic.accepted.map(|accepted| format!(", {} {} accepted", count(accepted), were(accepted)));
    let peak = traffic.accept_queue_peak.map(|peak| peak.last_minute);
    let peak = peak.map(|peak| format!("; at most {} waited at once in the last minute", count(peak.into())));
    let passed = format!(
        "{} entered the accept queue{}{}.",
        plural(traffic.established, "connection"),
        accepted.unwrap_or_default(),
        peak.unwrap_or_default()
    );
    // Quantiles of a few waits say nothing, and those who still wait are not among them.
    let enough = traffic.accepted.is_none_or(|accepted| accepted >= 20);
    let waits = traffic.accept_wait_seconds.as_ref().filter(|_| enough);
    let waits = waits.and_then(|wait| wait.p50.zip(wait.p99));
    Some(match waits {
        Some((p50, p99)) => {
            format!("{passed} Half were accepted within {}, 99 of 100 within {}.", waited(p50), waited(p99))
        }
        None => passed,
    })
}

fn causes<'a>(kind: &'a str, parts: impl Iterator<Item = Part<'a>>) -> impl Iterator<Item = String> {
    let mut looked = "";
    Part::largest_first(parts).into_iter().map(move |part| {
        let number = count(part.count);
        match glossary::find(kind, part.cause, part.stage) {
            Some(entry) => {
                let look =
                    if entry.look == looked { String::new() } else { format!(" Look at: {}", entry.look) };
                looked = entry.look;
                format!("{number} × {}. {}{look}", lower_first(entry.title), entry.meaning)
            }
            None => {
                format!("{number} × {}, which this version of netqueue has no words for.", plain(part.cause))
            }
        }
    })
}

/// Lower-cases a title for use within a sentence; abbreviations remain as they are.
fn lower_first(title: &str) -> String {
    let mut characters = title.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{}", first.to_lowercase(), characters.as_str())
        }
        _ => title.to_owned(),
    }
}

fn handshakes(listener: &Listener) -> Vec<String> {
    let (seen, ghosts) = (listener.handshakes, listener.ghosts);
    let mut said = Vec::new();
    if seen.suspended > 0 {
        let outcomes = [
            (seen.recovered, "completed later"),
            (seen.ended, "ended by a reset"),
            (seen.given_up, "given up by the client"),
            (seen.timed_out.saturating_sub(seen.expired), "given up by the listener"),
            (seen.expired, "given up by the listener and reset when the client sent data"),
            (seen.unresolved, "without an outcome yet"),
        ];
        let outcomes = outcomes.into_iter().filter(|(number, _)| *number > 0);
        let outcomes: Vec<_> =
            outcomes.map(|(number, outcome)| format!("{} {outcome}", count(number))).collect();
        let handshakes = plural(seen.suspended, "handshake");
        said.push(format!("The final ACK of {handshakes} was dropped: {}.", outcomes.join(", ")));
    }
    if ghosts.total > 0 {
        said.push(format!(
            "{} became ghosts, established on the client only; {} still live.",
            plural(ghosts.total, "client"),
            count(ghosts.live)
        ));
    }
    said
}

fn queues(listener: &Listener) -> Vec<(Tone, String)> {
    let mut said = Vec::new();
    if let Some(queue) = listener.accept_queue {
        let Queue { length, limit } = queue;
        let holds = limit.saturating_add(1);
        let tone = if queue.is_full() { Tone::Bad } else { Tone::Plain };
        said.push((
            tone,
            format!(
                "When last seen, {} of the {holds} that the accept queue holds (limit {limit}) waited for accept().",
                count(length.into())
            ),
        ));
    }
    if let Some(Queue { length, limit }) = listener.syn_queue {
        said.push((
            Tone::Plain,
            format!("{} under way; the SYN queue's limit is {limit}.", plural(length.into(), "handshake")),
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(more: serde_json::Value) -> Listener {
        let mut whole = serde_json::json!({
            "id": "1", "kind": "listener", "netns": "host", "addr": "0.0.0.0", "port": 80, "process": "nginx",
            "drops": {"total": 0, "by_cause": []}, "resets": {"total": 0, "by_cause": []},
        });
        if let (Some(whole), serde_json::Value::Object(more)) = (whole.as_object_mut(), more) {
            whole.extend(more);
        }
        serde_json::from_value(whole).expect("a listener")
    }

    fn said(listener: &Listener) -> String {
        narrate(listener, Some(90)).into_iter().map(|paragraph| paragraph.text + "\n").collect()
    }

    #[test]
    fn a_healthy_listener_is_said_to_be_so() {
        let said = narrate(&listener(serde_json::json!({})), None);
        assert_eq!(said[0].text, "A listening socket of process nginx.");
        assert_eq!(said[1].tone, Tone::Good);
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn a_closed_listener_is_said_to_be_closed_and_what_followed_is_not_said_to_be_nothing() {
        let said = narrate(&listener(serde_json::json!({"closed": "2026-11-30T18:20:11.5Z"})), None);
        assert_eq!(said[0].text, "A listening socket of process nginx, closed at 18:20:11 UTC.");
        assert_eq!(said[1].text, "Nothing was dropped and nothing was reset while it was open.");
    }

    #[test]
    fn resets_of_accepted_connections_are_told_with_the_listener() {
        let text = said(&listener(serde_json::json!({
            "connection_resets": {"total": 37, "by_cause": [{"cause": "linger_zero", "count": 37}]},
        })));
        assert!(text.contains("\nNo drop. 37 resets on its accepted connections in 90 s:\n37 × "), "{text}");
        assert!(!text.contains("no reset was sent"), "{text}");
    }

    #[test]
    fn what_ended_long_ago_is_no_overflow_of_netqueues_maps() {
        let first = |kind: &str| narrate(&listener(serde_json::json!({"kind": kind})), None).remove(0).text;
        assert_eq!(
            first("gone"),
            "Listeners and ports that ended some time ago, taken together: the sum is exact."
        );
        assert_eq!(
            first("raw_socket"),
            "An account of a kind that this netqueue does not know, raw_socket: the daemon is newer."
        );
    }

    #[test]
    fn an_overflow_is_told_with_its_causes_most_first_and_the_queue() {
        let text = said(&listener(serde_json::json!({
            "drops": {"total": 1300, "by_cause": [
                {"cause": "accept_queue_full", "stage": "ack", "count": 300},
                {"cause": "accept_queue_full", "stage": "syn", "count": 1000},
            ]},
            "accept_queue": {"length": 9, "limit": 8},
            "ghosts": {"live": 1, "total": 2, "recovered": 1, "ended": 0},
        })));
        assert!(text.contains("Dropped 1,300 packets in 90 s."), "{text}");
        let (syn, ack) = (
            text.find("1,000 × accept queue full at the SYN"),
            text.find("300 × accept queue full at the final"),
        );
        assert!(syn < ack && syn.is_some(), "{text}");
        assert_eq!(text.matches("Look at: The process accepts too slowly").count(), 1, "{text}");
        assert!(text.contains("9 of the 9 that the accept queue holds (limit 8)"), "{text}");
        assert!(
            text.contains("2 clients became ghosts, established on the client only; 1 still live."),
            "{text}"
        );
    }

    #[test]
    fn the_owner_and_what_would_make_the_queue_longer_are_named() {
        let text = said(&listener(serde_json::json!({
            "listener": {
                "family": "ipv4", "unknown": [],
                "owners": [{"pid": 7, "comm": "nginx", "executable": "/usr/sbin/nginx", "unit": "nginx.service"}, {"pid": 8, "comm": "nginx"}],
                "limit": {"backlog": 128, "limited_by": "earlier_somaxconn", "listen_argument": 511, "somaxconn_then": 128,
                    "sysctls": {"net.core.somaxconn": 4096}},
            },
            "traffic": {"established": 2000, "accepted": 1999, "accept_queue_peak": {"last_minute": 12}, "accept_wait_seconds": {"p50": 0.00012, "p99": 1.5}},
        })));
        assert!(
            text.contains("process nginx (7), /usr/sbin/nginx, unit nginx.service, and one other with it"),
            "{text}"
        );
        assert!(
            text.contains("which was 128 when the program began to listen; it is 4096 now: reload"),
            "{text}"
        );
        assert!(text.contains("Half were accepted within 120 µs, 99 of 100 within 1.5 s."), "{text}");
    }

    #[test]
    fn what_decided_the_limit_is_named_or_said_to_be_unknown_and_nothing_is_advised() {
        let limit = |by: &str, asked: Option<u32>| {
            let limit = serde_json::json!({"backlog": 8, "limited_by": by, "listen_argument": asked,
                "sysctls": {"net.core.somaxconn": 4096}});
            said(&listener(
                serde_json::json!({"listener": {"family": "ipv4", "unknown": [], "limit": limit}}),
            ))
        };
        let told = limit("listen_argument", Some(8));
        assert!(
            told.contains(
                "Its limit is 8, from the program's listen(8); net.core.somaxconn (4096 now) does not bind."
            ),
            "{told}"
        );
        let told = limit("listen_call", None);
        let unseen = "Its limit is 8, by the program's backlog or by somaxconn at its listen(): not known (somaxconn now 4096).";
        assert!(told.contains(unseen), "{told}");
    }

    #[test]
    fn a_cause_from_a_later_version_is_shown_all_the_same() {
        let text = said(&listener(serde_json::json!({
            "resets": {"total": 3, "by_cause": [{"cause": "moonlight", "count": 3}]},
        })));
        assert!(text.contains("3 × moonlight, which this version of netqueue has no words for."), "{text}");
    }
}
