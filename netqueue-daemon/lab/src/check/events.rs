//! Checks the newest events of the namespace.
//! Each expected event must have occurred, and no event may be unexpected.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use crate::expectation::{ExpectedEvents, QueueState, Waiting};
use netqueue_api::{Event, EventKind, Queue};

/// Compares the new events of a namespace with the expected kinds.
pub(super) fn check(expected: &[ExpectedEvents], seen: &[Event]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut unexplained: Vec<&Event> = seen.iter().collect();
    for want in expected {
        let peers: HashSet<&SocketAddr> = want.peers.iter().collect();
        let right = |event: &Event| says(event, want, &peers);
        let count = seen.iter().filter(|event| right(event)).count();
        if count < want.at_least {
            problems.push(format!("events: {count} say {}, at least {} should", words(want), want.at_least));
        }
        unexplained.retain(|event| !right(event));
    }
    if let Some(event) = unexplained.first() {
        let wrong = unexplained.len();
        problems.push(format!(
            "events: {wrong} of {} say something else, the newest of them {event}",
            seen.len()
        ));
    }
    problems
}

/// Checks that the dropped packets came from the expected number of clients, each dropped repeatedly.
pub(super) fn waiting(expected: &Waiting, seen: &[Event]) -> Vec<String> {
    let mut times: HashMap<SocketAddr, usize> = HashMap::new();
    for event in
        seen.iter().filter(|event| event.kind == EventKind::Drop && event.port == Some(expected.port))
    {
        if let Some(peer) = &event.peer {
            *times.entry(peer.address()).or_default() += 1;
        }
    }
    let Waiting { port, clients, times: least } = expected;
    let mut problems = Vec::new();
    if times.len() != *clients {
        problems.push(format!(
            "events: {} clients were dropped on port {port}, there are {clients}",
            times.len()
        ));
    }
    let seldom = times.iter().filter(|(_, times)| *times < least);
    problems.extend(seldom.map(|(peer, times)| {
        format!("events: {peer} waits and was dropped {times} times only, at least {least} expected")
    }));
    problems
}

/// Checks the kernel's reason of each reset, on kernels that give reasons.
pub(super) fn reasons(expected: &[(&str, &str)], seen: &[Event]) -> Vec<String> {
    if seen.iter().all(|event| event.kernel_reason.is_none()) {
        return Vec::new();
    }
    let wrong = |(cause, reason): &(&str, &str)| {
        let of_cause = |event: &&Event| event.kind == EventKind::Reset && event.cause == *cause;
        let event =
            seen.iter().filter(of_cause).find(|event| event.kernel_reason.as_deref() != Some(reason))?;
        Some(format!(
            "events: the kernel's reason is {:?}, expected {reason}, of {event}",
            event.kernel_reason
        ))
    };
    expected.iter().filter_map(wrong).collect()
}

fn says(event: &Event, want: &ExpectedEvents, peers: &HashSet<&SocketAddr>) -> bool {
    let stage = match &event.stage {
        Some(stage) => want.stages.contains(&stage.as_str()),
        // A reset may follow no stage of a handshake; a drop always happens at one.
        None => want.kind != EventKind::Drop,
    };
    event.port == Some(want.port)
        && stage
        && event.kind == want.kind
        && event.cause == want.cause
        && event.peer.as_ref().is_some_and(|peer| peers.contains(&peer.address()))
        && shows(event.accept_queue, want.accept_queue.as_ref())
        && shows(event.syn_queue, want.syn_queue.as_ref())
}

fn shows(queue: Option<Queue>, want: Option<&QueueState>) -> bool {
    want.is_none_or(|want| {
        queue.is_some_and(|queue| queue.limit == want.limit && want.length.contains(&queue.length))
    })
}

/// Describes the expected event.
fn words(want: &ExpectedEvents) -> String {
    let queue = |name: &str, state: &Option<QueueState>| match state {
        Some(state) => {
            format!(", {name} queue {} to {} of {}", state.length.start(), state.length.end(), state.limit)
        }
        None => String::new(),
    };
    format!(
        "{} {} at {} on port {} from one of {} peers{}{}",
        want.kind,
        want.cause,
        want.stages.join("+"),
        want.port,
        want.peers.len(),
        queue("accept", &want.accept_queue),
        queue("SYN", &want.syn_queue)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::{cause, stage};
    use crate::samples::event;

    fn want() -> ExpectedEvents {
        ExpectedEvents {
            kind: EventKind::Drop,
            cause: cause::ACCEPT_QUEUE_FULL,
            stages: stage::SYN,
            port: 80,
            peers: vec!["10.9.9.1:20000".parse().unwrap(), "10.9.9.2:20001".parse().unwrap()],
            at_least: 2,
            accept_queue: Some(QueueState { length: 2..=2, limit: 1 }),
            syn_queue: None,
        }
    }

    #[test]
    fn events_of_the_right_peers_with_the_right_queue_agree() {
        let seen = [event(2, 80, "10.9.9.2:20001"), event(1, 80, "10.9.9.1:20000")];
        assert_eq!(check(&[want()], &seen), Vec::<String>::new());
    }

    #[test]
    fn too_few_events_are_a_problem_and_none_at_all_too() {
        assert_eq!(check(&[want()], &[event(1, 80, "10.9.9.1:20000")]).len(), 1);
        assert_eq!(check(&[want()], &[]).len(), 1);
        assert_eq!(check(&[], &[]), Vec::<String>::new());
    }

    #[test]
    fn more_packets_than_clients_are_not_more_clients() {
        let seen: Vec<_> =
            (1..=6).map(|seq| event(seq, 80, if seq > 3 { "10.9.9.1:1" } else { "10.9.9.2:1" })).collect();
        let waits = |clients, times| waiting(&Waiting { port: 80, clients, times }, &seen);
        assert_eq!(waits(2, 3), Vec::<String>::new());
        assert_eq!(waits(6, 1).len(), 1);
        assert_eq!(waits(2, 4).len(), 2);
    }

    #[test]
    fn the_kernels_own_reason_is_compared_where_there_is_one() {
        let mut reset = event(1, 80, "10.9.9.1:20000");
        reset.kind = EventKind::Reset;
        let silent = [reset.clone()];
        reset.kernel_reason = Some("TCP_FLAGS".to_owned());
        let expected = |reason| [(cause::ACCEPT_QUEUE_FULL, reason)];
        assert_eq!(reasons(&expected("TCP_STATE"), &silent), Vec::<String>::new());
        assert_eq!(reasons(&expected("TCP_FLAGS"), &[reset.clone()]), Vec::<String>::new());
        assert_eq!(reasons(&expected("TCP_STATE"), &[reset]).len(), 1);
    }

    #[test]
    fn a_wrong_peer_port_or_queue_is_shown_as_it_was_said() {
        let good = [event(2, 80, "10.9.9.2:20001"), event(1, 80, "10.9.9.1:20000")];
        let mut wrong_queue = event(3, 80, "10.9.9.1:20000");
        wrong_queue.accept_queue = Some(Queue { length: 2, limit: 128 });
        for wrong in [event(3, 80, "10.9.9.1:1"), event(3, 81, "10.9.9.1:20000"), wrong_queue] {
            let mut seen = vec![wrong];
            seen.extend(good.clone());
            let problems = check(&[want()], &seen);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with("events: 1 of 3 say something else"), "{problems:?}");
            assert!(problems[0].contains("drop accept_queue_full at syn"), "{problems:?}");
        }
    }
}
