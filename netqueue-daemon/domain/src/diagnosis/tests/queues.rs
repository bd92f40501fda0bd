//! Incidents of accept queues, from the samples to the sentence.

use super::*;
use crate::{
    Aggregator, AggregatorSettings, Event, Features, Health, Peer, QueueState, Queues, Snapshot, Traffic,
    TrafficReading, What,
};

const PORT: u16 = 8151;
const API: AccountKey = AccountKey::Listener {
    socket: SocketId(9),
    at: Endpoint {
        netns: Netns::at_attach(7),
        addr: std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: PORT,
    },
};

/// A listener whose queue is simulated: clients enter, are dropped when it is full, and are accepted.
struct Server {
    aggregator: Aggregator,
    backlog: u32,
    waiting: u64,
    traffic: Traffic,
    counts: Counts,
    clients: u16,
    /// Clients that were dropped, with the time of their next try and the number of tries.
    outside: Vec<(u64, u16, u32)>,
    /// True if clients give up rather than try again.
    impatient: bool,
}

/// Ten ticks are a second.
const fn tenths(number: u64) -> Timestamp {
    Timestamp::from_nanos(number * 100_000_000)
}

impl Server {
    fn new(backlog: u32) -> Self {
        let settings =
            AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(Netns::at_attach(7)) };
        let mut aggregator = Aggregator::new(settings, seconds(0));
        aggregator.set_health(Health { features: Features::default(), ..Health::default() });
        drop(aggregator.tick(seconds(1)));
        Self {
            aggregator,
            backlog,
            waiting: 0,
            traffic: Traffic::default(),
            counts: Counts::default(),
            clients: 0,
            outside: Vec::new(),
            impatient: false,
        }
    }

    /// Advances from one tenth of a second to another: clients come and are accepted at these intervals.
    fn run(&mut self, (from, to): (u64, u64), come: Option<u64>, accept: Option<(u64, u64)>) {
        for now in from..to {
            if come.is_some_and(|every| now.is_multiple_of(every)) {
                self.clients += 1;
                self.arrive(now, self.clients, 0);
            }
            let (again, later) = self.outside.drain(..).partition(|(next, ..)| *next <= now);
            self.outside = later;
            let again: Vec<(u64, u16, u32)> = again;
            again.into_iter().for_each(|(_, client, tries)| self.arrive(now, client, tries));
            if let Some((_, at_once)) = accept.filter(|(every, _)| now.is_multiple_of(*every)) {
                let taken = self.waiting.min(at_once);
                self.waiting -= taken;
                self.traffic.accepted += taken;
            }
            if now.is_multiple_of(10) {
                self.read(now);
            }
        }
    }

    fn arrive(&mut self, now: u64, client: u16, tries: u32) {
        if self.waiting <= u64::from(self.backlog) {
            self.waiting += 1;
            self.traffic.established += 1;
            return;
        }
        self.counts.add(&drops(DropKind::AcceptQueueFullSyn, 1));
        self.read_counts(now);
        self.aggregator.observe(Event {
            time: tenths(now),
            account: API,
            local_port: PORT,
            peer: Some(Peer { addr: Ipv4Addr::LOCALHOST.into(), port: client }),
            what: What::Drop(DropKind::AcceptQueueFullSyn),
            kernel_reason: None,
            queues: self.queues(),
            cpu: 0,
            age: None,
        });
        if !self.impatient && tries < 4 {
            self.outside.push((now + (10 << tries), client, tries + 1));
        }
    }

    fn queues(&self) -> Queues {
        Queues { accept: Some(QueueState { length: self.waiting as u32, limit: self.backlog }), syn: None }
    }

    fn read_counts(&mut self, now: u64) {
        self.aggregator.count([(API, self.counts)], tenths(now));
    }

    fn read(&mut self, now: u64) {
        let queues = self.queues();
        let reading = TrafficReading { counts: self.traffic.clone(), accept_peak: 0, queues };
        if self.counts != Counts::default() {
            self.read_counts(now);
        }
        self.aggregator.flow([(API, reading)], tenths(now));
        self.aggregator.tick(tenths(now));
    }

    fn snapshot(&self, now: u64) -> Snapshot {
        self.aggregator.snapshot(tenths(now))
    }

    fn verdicts(&self, now: u64) -> Vec<Verdict> {
        evaluate(&evidence(&self.snapshot(now), seconds(0)))
    }
}

/// Returns the rule, whether it goes on, the confidence and the sentence.
fn said(verdicts: &[Verdict]) -> (&'static str, bool, Confidence, &str) {
    let Some(first) = verdicts.first() else { panic!("nothing was said") };
    (first.rule, first.ongoing, first.confidence, &first.summary)
}

#[test]
fn a_hang_behind_a_large_backlog_is_told_though_nothing_is_dropped() {
    let mut server = Server::new(4096);
    server.run((20, 40), Some(10), Some((1, 9)));
    server.run((40, 180), Some(2), None);
    server.run((180, 530), None, None);
    let verdicts = server.verdicts(520);
    assert_eq!(
        said(&verdicts),
        (
            "accept_queue_waiting",
            true,
            Confidence::High,
            "The process has accepted nothing for 48 s; 70 connections wait for accept(). Nothing was dropped, because its backlog \
             (4096) is far from full."
        )
    );
    assert_eq!((verdicts[0].impact, verdicts[0].affected, verdicts.len()), (Impact::NeverServed, 70, 1));
}

#[test]
fn a_hang_that_is_over_is_told_in_the_past_tense_and_grows_no_more() {
    let mut server = Server::new(4096);
    server.run((40, 180), Some(2), None);
    server.run((180, 440), None, None);
    server.run((440, 3000), None, Some((1, 9)));
    let verdicts = server.verdicts(2990);
    let sentence = "The process accepted nothing for 40 s, until 00:00:44 UTC; up to 70 connections waited for accept(), and clients \
             with a shorter time-out had gone when they were accepted. Nothing \
                    was dropped, because its backlog (4096) was far from full.";
    assert_eq!(said(&verdicts), ("accept_queue_waiting", false, Confidence::High, sentence));
    assert_eq!(verdicts[0].impact, Impact::Delayed);
}

#[test]
fn accepts_that_go_on_too_slowly_for_seconds_are_told_with_both_rates() {
    let mut server = Server::new(4096);
    server.run((20, 620), Some(5), Some((10, 1)));
    let verdicts = server.verdicts(610);
    let (rule, ongoing, _, sentence) = said(&verdicts);
    assert_eq!((rule, ongoing, verdicts[0].impact), ("accept_queue_waiting", true, Impact::Delayed));
    assert!(
        sentence.starts_with(
            "The process accepts 1.0 connections per second, and 2.0 arrive. 59 connections wait"
        ),
        "{sentence}"
    );
}

#[test]
fn three_workers_of_three_seconds_are_too_few_and_have_not_stopped() {
    let mut server = Server::new(8);
    let mut rules = Vec::new();
    for end in (40..600).step_by(20) {
        server.run((end - 20, end), Some(3), Some((30, 3)));
        let first = server.verdicts(end - 10).into_iter().next();
        rules.extend(first.map(|first| (end, first.rule, first.confidence)));
    }
    let from = rules.iter().position(|(_, rule, _)| *rule == "accept_queue_slow").expect("too slow");
    assert!(rules[from].0 < 300, "{rules:?}");
    assert!(rules[from..].iter().all(|(_, rule, _)| *rule == "accept_queue_slow"), "{rules:?}");
    assert!(rules[..from].iter().all(|(.., confidence)| *confidence < Confidence::High), "{rules:?}");
    let verdicts = server.verdicts(590);
    let (.., sentence) = said(&verdicts);
    assert!(
        sentence.starts_with(
            "The process accepts 1.0 connections per second, and 3.3 arrive: no backlog is enough."
        ),
        "{sentence}"
    );
}

#[test]
fn a_slow_server_is_called_so_and_never_first_given_a_backlog_at_high_confidence() {
    // Demo 8081: 27 at 4 s, 29 at 10 s, both "high", and "no backlog would have been enough" at 20 s.
    let mut server = Server::new(8);
    for end in (30..900).step_by(10) {
        server.run((end - 10, end), Some(3), Some((5, 1)));
        let Some(first) = server.verdicts(end - 10).into_iter().next() else { continue };
        if first.rule == "accept_queue_burst" {
            assert!(first.summary.ends_with("too early to tell a burst from an overload."), "{first:?}");
            assert_eq!((first.confidence, first.knobs.len()), (Confidence::Low, 0), "{first:?}");
        }
    }
    assert_eq!(said(&server.verdicts(890)).0, "accept_queue_slow");
}

#[test]
fn clients_that_give_up_are_gone_and_were_not_let_in() {
    let mut server = Server::new(8);
    server.impatient = true;
    server.run((20, 330), Some(3), Some((5, 1)));
    let verdicts = server.verdicts(320);
    let (rule, .., sentence) = said(&verdicts);
    assert_eq!(rule, "accept_queue_slow", "{sentence}");
    assert!(
        sentence.starts_with("The process accepts 2.0 connections per second, and 3.4 arrive: no backlog"),
        "{sentence}"
    );
    let answer = verdicts[0].counterfactual.as_ref().expect("an answer");
    assert!(answer.assumptions.iter().any(|assumed| assumed.contains("are gone")), "{answer:?}");
}

#[test]
fn a_stall_that_is_over_never_ranks_above_what_goes_on() {
    let over = stalled(30, 9, burst());
    let slow = Evidence {
        subject: Subject::Account(AccountId(3), API),
        last_charge: Some(seconds(159)),
        counterfactual: answer(Remedy::Faster { arrivals: 3.0, accepts: 2.0 }, 9),
        ..burst()
    };
    let verdicts = evaluate([&over, &slow]);
    let ranked: Vec<_> = verdicts.iter().map(|verdict| (verdict.rule, verdict.ongoing)).collect();
    assert_eq!(ranked, [("accept_queue_slow", true), ("accept_queue_stalled", false)]);
    assert!(
        verdicts[1].summary.starts_with("nginx (pid 812) accepted nothing for 30 s, until 00:02:20 UTC;"),
        "{}",
        verdicts[1].summary
    );
}

#[test]
fn after_the_close_nothing_goes_on_and_nothing_grows() {
    let mut server = Server::new(8);
    server.run((20, 200), Some(3), None);
    server.outside.clear();
    server.aggregator.close([(API, tenths(200))]);
    server.run((200, 1000), None, None);
    let verdicts = server.verdicts(990);
    let (rule, ongoing, _, sentence) = said(&verdicts);
    assert_eq!((rule, ongoing), ("accept_queue_stalled", false));
    assert!(
        sentence.starts_with(
            "The process accepted nothing for 17 s, until the listener was closed at 00:00:20 UTC;"
        ),
        "{sentence}"
    );
}

#[test]
fn a_busy_listener_whose_queue_is_never_empty_is_not_remembered_for_long() {
    let mut server = Server::new(4096);
    server.run((20, 30), Some(1), None);
    server.run((30, 3000), Some(1), Some((1, 1)));
    assert_eq!(server.verdicts(2990), []);
}

#[test]
fn advice_on_ghosts_follows_from_what_filled_the_queue() {
    let ghosts = Handshakes { ghosts: 3, ..Handshakes::default() };
    let counts = drops(DropKind::AcceptQueueFullCookieAck, 3).with_handshakes(ghosts);
    let of = |remedy, syncookies| {
        let settings = SysctlValues { syncookies: Some(syncookies), ..SysctlValues::default() };
        let evidence = Evidence { counterfactual: answer(remedy, 3), settings, ..charged(counts) };
        of_rule(&evidence, "ghost_connections").advice
    };
    let slow = of(Remedy::Faster { arrivals: 3.0, accepts: 2.0 }, 1);
    assert_eq!(
        slow[0],
        "Make the process accept faster, or send it less traffic. A larger backlog would not have helped."
    );
    assert!(!slow.iter().any(|advice| advice.contains("Raise the backlog")), "{slow:?}");
    assert!(of(backlog(499), 1)[0].starts_with("Raise the backlog"));
    assert!(of(backlog(499), 2)[0].starts_with("Set tcp_syncookies to 1"));
    for advice in [slow, of(backlog(499), 1), of(backlog(499), 2)] {
        assert!(!advice.iter().any(|advice| advice.contains("tcp_syncookies=0")), "{advice:?}");
    }
}

#[test]
fn a_state_without_programs_or_compared_namespaces_is_no_all_clear() {
    let server = Server::new(8);
    let scope = Scope::of(&server.snapshot(20));
    assert_eq!(
        scope.blind,
        [
            "none of its programs is attached to the kernel",
            "the kernel's counters could be read in no network namespace"
        ]
    );
    let mut server = Server::new(8);
    server.run((10, 40), Some(5), None);
    let scope = Scope::of(&server.snapshot(40));
    assert_eq!((scope.listeners, scope.waiting), (1, 5));
}
