//! Incidents, and the verdict that must come first.

use std::net::IpAddr;

use super::*;
use crate::IdleLimit;

#[test]
fn a_burst_over_a_small_backlog_names_the_backlog_that_would_have_done_and_where_it_is_set() {
    let verdict = first(&burst());
    assert_eq!(
        (verdict.rule, verdict.impact, verdict.affected),
        ("accept_queue_burst", Impact::Delayed, 371)
    );
    assert_eq!(verdict.confidence, Confidence::High);
    assert!(
        verdict.summary.contains("backlog of 499") && verdict.summary.contains("371 clients"),
        "{verdict:?}"
    );
    let [knob] = verdict.knobs.as_slice() else { panic!("{:?}", verdict.knobs) };
    assert!(knob.set_by.contains("backlog=N"), "nginx says where: {knob:?}");
    assert_eq!((knob.current.as_deref(), knob.proposed.as_str()), (Some("128"), "530"));
    assert!(verdict.clients_see.contains("never answered with a reset"), "{}", verdict.clients_see);
}

#[test]
fn where_somaxconn_binds_it_is_what_must_be_raised() {
    let evidence = Evidence {
        bound_by: Some(Bound::Somaxconn),
        listen_argument: Some(65_535),
        settings: SysctlValues { somaxconn: Some(128), ..burst().settings },
        ..burst()
    };
    let knobs = first(&evidence).knobs;
    let names: Vec<_> = knobs.iter().map(|knob| knob.name.as_str()).collect();
    assert_eq!(names, ["net.core.somaxconn"], "the program asks for enough");
    assert!(knobs[0].set_by.contains("listen() again"));
}

#[test]
fn a_default_of_the_software_is_named_as_one() {
    let evidence = Evidence { backlog: Some(511), listen_argument: Some(511), ..burst() };
    assert!(first(&evidence).advice[0].contains("511 is the default backlog of nginx"));
}

#[test]
fn a_raised_sysctl_that_is_not_in_force_comes_before_the_burst_it_did_not_help() {
    let evidence = Evidence {
        bound_by: Some(Bound::EarlierSomaxconn),
        listen_argument: Some(65_535),
        settings: SysctlValues { somaxconn: Some(10_000), ..burst().settings },
        ..burst()
    };
    let verdict = first(&evidence);
    assert_eq!((verdict.rule, verdict.knobs[0].proposed.as_str()), ("limit_needs_relisten", "10000"));
    assert!(
        verdict.advice.iter().any(|advice| advice.contains("only when the program calls listen() again"))
    );
}

#[test]
fn more_arrivals_than_accepts_are_told_as_rates_and_no_backlog_is_proposed() {
    let evidence = Evidence {
        flow: flow(60, 12_600, 12_600),
        counterfactual: answer(Remedy::Faster { arrivals: 340.0, accepts: 210.0 }, 7800),
        ..burst()
    };
    let verdict = first(&evidence);
    assert_eq!((verdict.rule, verdict.knobs.len()), ("accept_queue_slow", 0));
    assert!(
        verdict.summary.contains(
            "nginx (pid 812) accepts 210 connections per second, and 340 arrive: no backlog is enough."
        ),
        "{}",
        verdict.summary
    );
    assert!(verdict.advice.iter().any(|advice| advice.contains("SYN_RECV: they are a consequence")));
}

#[test]
fn a_process_that_accepts_nothing_is_stalled_and_not_short_of_backlog() {
    let evidence = stalls(20, 129, Evidence { flow: flow(20, 129, 0), ..burst() });
    let verdict = first(&evidence);
    assert_eq!((verdict.rule, verdict.impact), ("accept_queue_stalled", Impact::NeverServed));
    assert!(
        verdict.summary.starts_with("nginx (pid 812) has accepted nothing for 20 s: 129 connections wait"),
        "{}",
        verdict.summary
    );
}

#[test]
fn one_stalled_member_of_a_group_is_told_from_an_overloaded_group() {
    let one = Evidence {
        group: Some(Group { others: 3, well: 3, drops: 0, accepts_known: true }),
        ..stalls(4, 129, burst())
    };
    assert_eq!(first(&one).rule, "reuseport_member_stalled");
    let all = Evidence { group: Some(Group { others: 3, well: 0, drops: 3000, accepts_known: true }), ..one };
    assert!(!rules(&all).contains(&"reuseport_member_stalled"));
}

#[test]
fn resets_of_abort_on_overflow_are_told_with_the_full_queue_that_earned_them() {
    let counts = both(drops(DropKind::AcceptQueueFullAck, 6), resets(ResetCause::OverflowAbort, 6));
    let evidence = Evidence {
        counterfactual: answer(backlog(13), 6),
        settings: SysctlValues { abort_on_overflow: Some(1), ..SysctlValues::default() },
        ..stalls(3, 13, charged(counts))
    };
    let verdict = first(&evidence);
    assert_eq!((verdict.rule, verdict.impact, verdict.affected), ("accept_queue_stalled", Impact::Reset, 6));
    assert_eq!(
        verdict.summary,
        "The process has accepted nothing for 3.0 s: 13 connections wait for accept(), and the kernel turned away 6 clients \
         because its accept queue was full. The first drop was 2.0 s ago, too early to tell a stall from a pause. 6 clients were reset at the \
         end of the handshake, because tcp_abort_on_overflow was on."
    );
    assert_eq!(
        (verdict.knobs[0].name.as_str(), verdict.knobs[0].proposed.as_str()),
        ("net.ipv4.tcp_abort_on_overflow", "0")
    );
    assert_eq!(rules(&evidence)[..2], ["accept_queue_stalled", "overflow_abort"]);
}

#[test]
fn ghosts_are_told_with_the_burst_that_left_them_and_make_it_as_grave_as_they_are() {
    let ghosts = Handshakes { ghosts: 3, ghosts_recovered: 1, ..Handshakes::default() };
    let counts = both(drops(DropKind::AcceptQueueFullSyn, 800), drops(DropKind::AcceptQueueFullCookieAck, 3))
        .with_handshakes(ghosts);
    let evidence = Evidence { counterfactual: answer(backlog(499), 371), ..charged(counts) };
    let lead = first(&evidence);
    assert_eq!((lead.rule, lead.impact, lead.affected), ("accept_queue_burst", Impact::NeverServed, 370));
    assert_eq!(lead.consequences, ["ghost_connections"]);
    assert_eq!(
        lead.summary,
        "The kernel turned away 371 clients because the accept queue was full. A backlog of 499 \
         would have been enough. The full queue left 3 ghost connections, whose last ACK was dropped. Afterwards, 1 got in when it sent again and 2 \
         have not been heard from since."
    );
    let verdict = of_rule(&evidence, "ghost_connections");
    assert_eq!((verdict.impact, verdict.affected), (Impact::NeverServed, 2));
    let because = verdict.because.expect("the queue was full, and why is known");
    assert_eq!(because.rule, "accept_queue_burst");
    assert!(because.summary.contains("A backlog of 499 would have been enough"), "{}", because.summary);
    assert_eq!(verdict.knobs[0].proposed, "530", "what helps against the cause helps here");
    let mut mail = at();
    mail.port = 25;
    let key = AccountKey::Listener { socket: SocketId(1), at: mail };
    let mail = Evidence { subject: Subject::Account(AccountId(1), key), ..evidence };
    for verdict in [first(&mail), of_rule(&mail, "ghost_connections")] {
        assert!(verdict.clients_see.contains("SMTP the server sends first"), "{}", verdict.clients_see);
    }
}

#[test]
fn handshakes_given_up_early_name_the_sysctl_and_the_ages() {
    let expired = Handshakes { suspended: 6, expired: 6, ..Handshakes::default() };
    let counts = resets(ResetCause::ExpiredHandshake, 6).with_handshakes(expired);
    let evidence = Evidence {
        ages: Some((Duration::from_millis(8100), Duration::from_millis(12_800))),
        settings: SysctlValues { synack_retries: Some(1), ..SysctlValues::default() },
        ..charged(counts)
    };
    let verdict = first(&evidence);
    assert_eq!((verdict.rule, verdict.knobs[0].proposed.as_str()), ("expired_handshakes", "5"));
    assert!(verdict.summary.contains("reset them 8.1 to 12.8 s later"), "{}", verdict.summary);
    let default = Evidence {
        settings: SysctlValues { synack_retries: Some(5), ..SysctlValues::default() },
        ..evidence
    };
    assert!(first(&default).knobs.is_empty());
}

#[test]
fn a_flood_with_cookies_off_is_not_cured_by_tcp_max_syn_backlog() {
    let verdict = first(&charged(drops(DropKind::SynQueueFull, 540)));
    assert_eq!((verdict.rule, verdict.impact), ("syn_queue_full", Impact::NeverServed));
    assert_eq!((verdict.knobs[0].name.as_str(), verdict.knobs.len()), ("net.ipv4.tcp_syncookies", 1));
}

#[test]
fn a_flood_with_cookies_on_lost_nothing() {
    let counts = kernel(&[(KernelCounter::SyncookiesSent, 540), (KernelCounter::ReqQFullDoCookies, 540)]);
    let verdict = first(&charged(counts));
    assert_eq!((verdict.rule, verdict.impact, verdict.affected), ("syn_flood_absorbed", Impact::Absorbed, 0));
}

#[test]
fn drops_by_the_last_quarter_are_neither_queue_s() {
    let settings = SysctlValues { max_syn_backlog: Some(64), syncookies: Some(0), ..SysctlValues::default() };
    let verdict = first(&Evidence { settings, ..charged(drops(DropKind::SynBacklogReserve, 151)) });
    assert_eq!(verdict.rule, "syn_backlog_reserve");
    assert!(verdict.summary.contains("more than 48 handshakes"), "{}", verdict.summary);
}

#[test]
fn a_keep_alive_race_is_no_queue_problem_and_tells_the_clients_time_out() {
    let evidence = Evidence {
        subject: endpoint(),
        owner: nginx(),
        idle_limit: Some(IdleLimit {
            least: Duration::from_millis(4_950),
            most: Duration::from_millis(5_080),
            connections: 7,
        }),
        ..charged(both(resets(ResetCause::AfterClose, 30), resets(ResetCause::UnknownConnection, 4)))
    };
    let verdict = first(&evidence);
    assert_eq!(
        (verdict.rule, verdict.affected, verdict.confidence),
        ("keepalive_race", 34, Confidence::High)
    );
    assert_eq!(verdict.knobs[0].proposed, "below 5.0 s");
    assert!(verdict.advice.iter().any(|advice| advice.contains("not a queue problem")));
    assert!(verdict.summary.contains("5.0 to 5.1 s (seen on 7 connections)"), "{}", verdict.summary);
    assert_eq!(rules(&evidence), ["keepalive_race"], "the late ones are the same race");
    let unknown = first(&Evidence { idle_limit: None, ..evidence });
    assert_eq!((unknown.rule, unknown.confidence), ("after_close", Confidence::Medium));
    assert!(unknown.knobs.is_empty(), "no time-out was measured: {:?}", unknown.knobs);
}

#[test]
fn each_other_reset_has_its_verdict() {
    for (cause, rule) in [
        (ResetCause::ListenerClosed, "listener_closed"),
        (ResetCause::NoListener, "closed_port"),
        (ResetCause::NoConnection, "no_connection"),
        (ResetCause::AfterClose, "after_close"),
        (ResetCause::CloseUnreadData, "unread_data"),
        (ResetCause::LingerZero, "linger_zero"),
        (ResetCause::UnknownConnection, "unknown_connection"),
        (ResetCause::KeepaliveTimeout, "peer_gone"),
        (ResetCause::OutOfMemory, "out_of_memory"),
        (ResetCause::HandshakeAborted, "handshake_aborted"),
        (ResetCause::Other, "other_resets"),
    ] {
        let verdict = first(&Evidence { subject: endpoint(), ..charged(resets(cause, 5)) });
        assert_eq!((verdict.rule, verdict.impact, verdict.affected), (rule, Impact::Reset, 5));
    }
}

#[test]
fn segments_of_no_connection_at_a_client_are_told() {
    let key = AccountKey::Ephemeral { netns: at().netns, addr: at().addr };
    let verdict = first(&Evidence {
        subject: Subject::Account(AccountId(3), key),
        ..charged(resets(ResetCause::NoConnection, 40))
    });
    assert_eq!((verdict.rule, verdict.affected), ("no_connection", 40));
    assert!(verdict.advice[0].contains("nf_conntrack_tcp_be_liberal"), "{:?}", verdict.advice);
    assert!(!verdict.clients_see.contains("refused"), "{}", verdict.clients_see);
}

#[test]
fn a_killed_server_is_one_story() {
    let before = resets(ResetCause::AfterClose, 3);
    let since = both(
        both(resets(ResetCause::CloseUnreadData, 4), resets(ResetCause::NoConnection, 8)),
        both(resets(ResetCause::NoListener, 2), resets(ResetCause::Again, 9)),
    );
    let stopped = Stopped {
        ago: Duration::from_secs(30),
        owner: nginx(),
        reopened: false,
        since,
        times: 1,
        refused: 2,
    };
    let killed = Evidence {
        subject: endpoint(),
        owner: nginx(),
        stopped: Some(stopped),
        ..charged(both(before, since))
    };
    let verdicts = evaluate([&killed]);
    let told: Vec<_> = verdicts.iter().map(|verdict| (verdict.rule, verdict.affected)).collect();
    assert_eq!(
        told,
        [("server_stopped", 14), ("after_close", 3), ("reset_again", 0)],
        "what was before is told apart"
    );
    let summary = &verdicts[0].summary;
    assert!(summary.contains(" UTC (30 s ago); 12 connections were reset"), "{summary}");
}

#[test]
fn what_follows_a_reset_is_absorbed_and_the_first_cause_comes_first() {
    let counts = both(resets(ResetCause::CloseUnreadData, 5), resets(ResetCause::Again, 65));
    let evidence = Evidence { subject: endpoint(), ..charged(counts) };
    assert_eq!(rules(&evidence), ["unread_data", "reset_again"]);
    let last = evaluate([&evidence]).pop().expect("two");
    assert_eq!((last.impact, last.affected), (Impact::Absorbed, 0));
}

#[test]
fn clients_that_were_reset_more_than_once_count_once() {
    let evidence = Evidence {
        subject: endpoint(),
        repeated_resets: vec![(ResetCause::UnknownConnection, 60)],
        ..charged(resets(ResetCause::UnknownConnection, 65))
    };
    assert_eq!(first(&evidence).affected, 5);
}

#[test]
fn a_stray_reset_does_not_hide_a_burst_that_delayed_hundreds() {
    // 371 clients were delayed; a reset counts as thirty delays.
    for (reset, expected) in [(1, "accept_queue_burst"), (12, "accept_queue_burst"), (13, "unread_data")] {
        let stray = Evidence { subject: endpoint(), ..charged(resets(ResetCause::CloseUnreadData, reset)) };
        let verdicts = evaluate([&stray, &burst()]);
        assert_eq!(verdicts[0].rule, expected, "{reset}");
        assert_eq!(verdicts[0].ongoing, verdicts[1].ongoing);
    }
}

#[test]
fn a_scan_of_handshakes_hurts_nobody() {
    let verdict = first(&charged(kernel(&[(KernelCounter::EmbryonicRsts, 4)])));
    assert_eq!((verdict.rule, verdict.impact), ("handshakes_reset_by_peers", Impact::Absorbed));
}

#[test]
fn drops_of_no_queue_are_told_as_what_they_are() {
    assert_eq!(first(&charged(drops(DropKind::OtherSyn, 3))).rule, "other_drops");
}

#[test]
fn a_blind_netqueue_says_so_and_is_less_sure_of_the_rest() {
    let sight = Visibility { lost_charges: 3, ..Visibility::default() };
    let itself =
        Evidence { sight: sight.clone(), ..Evidence::of(Subject::Netqueue, window(), Counts::default()) };
    let impaired = Evidence { sight, ..burst() };
    let verdicts = evaluate([&impaired, &itself]);
    let told: Vec<_> = verdicts.iter().map(|verdict| (verdict.rule, verdict.confidence)).collect();
    assert_eq!(
        told,
        [("netqueue_blind", Confidence::High), ("accept_queue_burst", Confidence::Medium)]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    assert!(verdicts[0].missing.iter().any(|missing| missing.contains("netqueue_blind")));
}

#[test]
fn what_is_not_known_is_said_and_makes_it_less_sure() {
    let bare = Evidence { counterfactual: None, ..charged(drops(DropKind::AcceptQueueFullSyn, 24)) };
    let verdict = first(&bare);
    assert_eq!((verdict.rule, verdict.confidence), ("accept_queue_burst", Confidence::Low));
    assert!(
        verdict.missing.contains(&"how many connections arrived and were accepted"),
        "{:?}",
        verdict.missing
    );
}

#[test]
fn a_scan_of_ports_hurts_nobody_and_a_service_that_is_down_does() {
    let counts = resets(ResetCause::NoListener, 14);
    let scanner = [IpAddr::from([203, 0, 113, 7])];
    let peers = |senders: &[IpAddr]| senders.iter().map(|sender| (*sender, 1)).collect::<Vec<_>>();
    let ports = |ports, senders: &[IpAddr]| Evidence {
        subject: Subject::Namespace(Netns::at_attach(1)),
        ports,
        peers: peers(senders),
        ..charged(counts)
    };
    let scan = first(&ports(12, &scanner));
    assert_eq!((scan.rule, scan.impact, scan.affected), ("closed_port", Impact::Absorbed, 0));
    assert!(scan.summary.ends_with("are a scan, which harms nobody."), "{}", scan.summary);
    let many: Vec<_> = (1..=4).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    for evidence in [ports(12, &[]), ports(12, &many), ports(5, &scanner)] {
        assert_eq!(first(&evidence).impact, Impact::Reset, "{evidence:?}");
    }
}

/// A connection's packets may meet its end on two CPUs at once.
#[test]
fn a_reset_of_an_unknown_connection_is_no_second_story_beside_the_connections_own() {
    let counts = resets(ResetCause::UnknownConnection, 3);
    let told = |resets_of_ended_connections| Evidence { resets_of_ended_connections, ..charged(counts) };
    assert_eq!(rules(&told(3)), Vec::<&str>::new());
    assert_eq!((first(&told(1)).rule, first(&told(1)).affected), ("unknown_connection", 2));
}

#[test]
fn a_backlog_that_was_raised_since_is_not_proposed() {
    let evidence = Evidence { backlog: Some(1024), counterfactual: answer(backlog(499), 371), ..burst() };
    let verdict = first(&evidence);
    assert_eq!(
        verdict.summary,
        "The kernel turned away 371 clients because the accept queue was full, when its backlog was smaller. The present one (1024) \
         would have been enough."
    );
    assert_eq!(verdict.knobs, Vec::new());
}
