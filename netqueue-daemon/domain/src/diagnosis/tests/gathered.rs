//! Tests from the kernel side's observations, through the aggregator, to the verdict.

use super::*;
use crate::{
    Aggregator, AggregatorSettings, Event, Health, Obstacle, Peer, QueueState, Queues, Snapshot, Traffic,
    TrafficReading, What, diagnosis,
};

const WEB: AccountKey = AccountKey::Listener {
    socket: SocketId(1),
    at: Endpoint { netns: Netns::at_attach(7), addr: std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 80 },
};

struct Machine {
    queues: Aggregator,
    counts: Counts,
    traffic: Traffic,
}

impl Machine {
    fn new() -> Self {
        let settings =
            AggregatorSettings { event_memory: 1 << 20, ..AggregatorSettings::of(Netns::at_attach(7)) };
        let mut queues = Aggregator::new(settings, seconds(0));
        (1..=20).for_each(|second| drop(queues.tick(seconds(second))));
        Self { queues, counts: Counts::default(), traffic: Traffic::default() }
    }

    /// Lets `clients` connect at `second`: `room` of them are admitted, then `accepted` are accepted.
    fn clients(&mut self, second: u64, clients: u64, room: u64, accepted: u64) {
        for client in room..clients {
            self.counts.add(&drops(DropKind::AcceptQueueFullSyn, 1));
            self.queues.observe(Event {
                time: seconds(second),
                account: WEB,
                local_port: 80,
                peer: Some(Peer { addr: Ipv4Addr::LOCALHOST.into(), port: client as u16 }),
                what: What::Drop(DropKind::AcceptQueueFullSyn),
                kernel_reason: None,
                queues: Queues { accept: Some(QueueState { length: 129, limit: 128 }), syn: None },
                cpu: 0,
                age: None,
            });
        }
        self.traffic.established += room.min(clients);
        self.traffic.accepted += accepted;
        self.read(second);
    }

    fn read(&mut self, second: u64) {
        let length = (self.traffic.established - self.traffic.accepted) as u32;
        let queues = Queues { accept: Some(QueueState { length, limit: 128 }), syn: None };
        let reading = TrafficReading { counts: self.traffic.clone(), accept_peak: 129, queues };
        self.queues.count([(WEB, self.counts)], seconds(second));
        self.queues.flow([(WEB, reading)], seconds(second));
        self.queues.tick(seconds(second));
    }

    fn snapshot(&self, second: u64) -> Snapshot {
        self.queues.snapshot(seconds(second))
    }
}

fn verdicts(snapshot: &Snapshot, from: u64) -> Vec<Verdict> {
    evaluate(&evidence(snapshot, seconds(from)))
}

#[test]
fn a_server_that_stops_accepting_under_load_is_told_from_one_that_meets_a_burst() {
    let mut stopped = Machine::new();
    (21..30).for_each(|second| stopped.clients(second, 300, if second < 22 { 129 } else { 0 }, 0));
    let told = verdicts(&stopped.snapshot(30), 0);
    assert_eq!((told[0].rule, told[0].impact), ("accept_queue_stalled", Impact::NeverServed));
    assert_eq!(told[0].affected, 300, "each client once, however often it tried");

    let mut busy = Machine::new();
    busy.clients(21, 500, 129, 0);
    busy.clients(22, 50, 50, 179);
    (23..40).for_each(|second| busy.clients(second, 50, 50, 50));
    let told = verdicts(&busy.snapshot(40), 0);
    assert_eq!(told[0].rule, "accept_queue_burst");
    let Some(Counterfactual { remedy: Remedy::Backlog { smallest, .. }, refused, .. }) =
        told[0].counterfactual
    else {
        panic!("{told:?}")
    };
    assert_eq!((smallest, refused), (499, 371));
}

#[test]
fn a_server_that_emptied_its_queue_at_once_and_then_had_no_clients_has_not_stalled() {
    let mut quick = Machine::new();
    quick.clients(21, 16, 5, 5);
    (22..40).for_each(|second| quick.clients(second, 0, 0, 0));
    let told = verdicts(&quick.snapshot(40), 0);
    assert_eq!(told[0].rule, "accept_queue_burst", "{told:?}");
}

#[test]
fn what_happened_before_the_window_is_not_told_again() {
    let mut machine = Machine::new();
    machine.clients(21, 500, 129, 0);
    machine.clients(22, 10, 10, 139);
    (23..100).for_each(|second| machine.clients(second, 10, 10, 10));
    let snapshot = machine.snapshot(100);
    assert_eq!(verdicts(&snapshot, 0)[0].rule, "accept_queue_burst");
    assert_eq!(verdicts(&snapshot, 60), []);
}

#[test]
fn a_machine_on_which_nothing_happens_gets_no_verdict() {
    let mut machine = Machine::new();
    (21..120).for_each(|second| machine.clients(second, 100, 100, 100));
    assert_eq!(verdicts(&machine.snapshot(120), 0), []);
}

#[test]
fn a_scan_of_many_ports_is_one_verdict() {
    let mut machine = Machine::new();
    for port in 1..=100 {
        let at = Endpoint { port, ..at() };
        machine.queues.count([(AccountKey::Endpoint(at), resets(ResetCause::NoListener, 1))], seconds(21));
    }
    machine.queues.tick(seconds(21));
    let told = verdicts(&machine.snapshot(22), 0);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].rule, told[0].affected), ("closed_port", 100));
    assert!(told[0].summary.contains("100 ports"), "{}", told[0].summary);
}

/// Verdicts on SYNs to closed ports, by port and sender; sender 0 if the event has not come yet.
fn refused(packets: &[(u16, u8)]) -> Vec<Verdict> {
    let mut machine = Machine::new();
    for (port, sender) in packets {
        let account = AccountKey::Endpoint(Endpoint { port: *port, ..at() });
        let sent = packets.iter().filter(|(other, _)| other == port).count() as u64;
        machine.queues.count([(account, resets(ResetCause::NoListener, sent))], seconds(21));
        if *sender > 0 {
            machine.queues.observe(Event {
                time: seconds(21),
                account,
                local_port: *port,
                peer: Some(Peer { addr: Ipv4Addr::new(192, 0, 2, *sender).into(), port: 4000 }),
                what: What::Reset(ResetCause::NoListener),
                kernel_reason: None,
                queues: Queues::default(),
                cpu: 0,
                age: None,
            });
        }
    }
    machine.queues.tick(seconds(21));
    verdicts(&machine.snapshot(22), 0)
}

#[test]
fn a_scan_is_harmless_from_its_third_port_on_and_a_service_that_is_down_beside_it_is_not() {
    let scan = refused(&[(9000, 1), (9001, 1), (9002, 1), (9003, 0), (9000, 0)]);
    assert_eq!(scan.len(), 1, "{scan:?}");
    assert_eq!(scan[0].impact, Impact::Absorbed);
    assert_eq!(
        scan[0].summary,
        "5 SYNs from 192.0.2.1 reached 4 ports on which nothing listens; each was answered with a reset. So few to each port, one after the \
         other, are a scan, which harms nobody."
    );
    let two = refused(&[(9000, 1), (9001, 1)]);
    assert!(two.len() == 2 && two.iter().all(|verdict| verdict.impact == Impact::Reset), "{two:?}");

    let again: Vec<_> = (0..40).map(|packet| (9000 + packet % 10, 1)).collect();
    assert_eq!(refused(&again)[0].impact, Impact::Absorbed, "ten ports, scanned four times");

    let beside = refused(&[(9000, 1), (9001, 1), (9002, 1), (8080, 2), (8080, 2), (8080, 2)]);
    let harm: Vec<_> = beside.iter().map(|verdict| (verdict.impact, verdict.affected)).collect();
    assert_eq!(harm, [(Impact::Reset, 3), (Impact::Absorbed, 0)], "{beside:?}");
}

#[test]
fn that_netqueue_is_blind_is_said_however_many_other_verdicts_there_are() {
    let mut machine = Machine::new();
    let obstacles = vec![Obstacle::FtraceOff];
    machine.queues.set_health(Health { obstacles, ..Health::default() });
    let reset = (AccountKey::Endpoint(at()), resets(ResetCause::NoListener, 1));
    machine.queues.count([reset], seconds(21));
    machine.queues.tick(seconds(21));
    let all = evaluate(&evidence(&machine.snapshot(22), seconds(0)));
    let shown = |limit| -> Vec<_> {
        diagnosis::first(all.clone(), limit).into_iter().map(|verdict| verdict.rule).collect()
    };
    assert_eq!(shown(3), ["closed_port", "netqueue_blind"]);
    assert_eq!(shown(2), ["closed_port", "netqueue_blind"]);
    assert_eq!(shown(1), ["netqueue_blind"]);
}

#[test]
fn a_switch_that_turns_programs_off_is_named_by_the_verdict_and_a_container_alone_is_no_blindness() {
    let named = |obstacles: Vec<Obstacle>| {
        let mut machine = Machine::new();
        machine.queues.set_health(Health { obstacles, ..Health::default() });
        let verdicts = evaluate(&evidence(&machine.snapshot(30), seconds(20)));
        let blind = verdicts.into_iter().find(|verdict| verdict.rule == "netqueue_blind");
        blind.map(|blind| blind.summary)
    };
    assert_eq!(named(Vec::new()), None);
    assert_eq!(named(vec![Obstacle::ForeignNetns, Obstacle::ForeignPidns]), None);
    let summary = named(vec![Obstacle::FtraceOff]).expect("it is blind");
    assert!(summary.contains("sysctl kernel.ftrace_enabled=1"), "{summary}");
}

#[test]
fn resets_that_follow_the_end_of_a_server_are_told_from_those_before() {
    let mut machine = Machine::new();
    let place = AccountKey::Endpoint(at());
    let before = resets(ResetCause::AfterClose, 3);
    let at_once = both(before, resets(ResetCause::CloseUnreadData, 4));
    let all = both(at_once, resets(ResetCause::NoConnection, 8));
    for second in 21..=40 {
        machine.read(second);
        let counts = match second {
            0..=24 => Counts::default(),
            25..=30 => before,
            31..=32 => at_once,
            _ => all,
        };
        machine.queues.count([(place, counts)], seconds(second));
        machine.queues.tick(seconds(second));
        if second == 31 {
            machine.queues.close([(WEB, seconds(31))]);
        }
    }
    let told = verdicts(&machine.snapshot(40), 0);
    let told: Vec<_> = told.iter().map(|verdict| (verdict.rule, verdict.affected)).collect();
    assert_eq!(told, [("server_stopped", 12), ("after_close", 3)]);
}
