//! Whole text of every rule for 1 and for 2 affected clients, while an incident goes on and after it is
//! over. The snapshots show reviewers how a changed sentence reads.

use std::net::IpAddr;

use super::{
    verdict_text::{Cases, text},
    *,
};
use crate::{IdleLimit, Obstacle, QueueState};

/// Compares the text of every rule with its snapshot. A rule without cases or without a snapshot fails.
#[test]
fn every_rule_has_a_snapshot_of_its_whole_text() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for rule in RULES {
            insta::assert_snapshot!(rule.id, text(rule, cases(rule.id)));
        }
    });
}

/// Returns the cases of one rule.
fn cases(rule: &str) -> Cases {
    match rule {
        "accept_queue_stalled" => accept_queue_stalled(),
        "accept_queue_slow" => for_each_and_over(|n, over| Evidence {
            counterfactual: answer(Remedy::Faster { arrivals: 0.5 + n as f64, accepts: n as f64 / 20.0 }, n),
            last_charge: Some(seconds(if over { 100 } else { 159 })),
            ..full(n)
        }),
        "accept_queue_waiting" => accept_queue_waiting(),
        "accept_queue_burst" => accept_queue_burst(),
        "limit_needs_relisten" => for_each(|n| Evidence {
            bound_by: Some(Bound::EarlierSomaxconn),
            listen_argument: (n == 2).then_some(65_535),
            settings: SysctlValues { somaxconn: Some(10_000), ..full(n).settings },
            ..full(n)
        }),
        "reuseport_member_stalled" => reuseport_member_stalled(),
        "ghost_connections" => ghost_connections(),
        "overflow_abort" => for_each(|n| Evidence {
            settings: SysctlValues { abort_on_overflow: Some(1), ..SysctlValues::default() },
            ..with_owner(
                listener(),
                both(drops(DropKind::AcceptQueueFullAck, n), resets(ResetCause::OverflowAbort, n)),
            )
        }),
        "expired_handshakes" => expired_handshakes(),
        "syn_queue_full" => for_each(|n| Evidence {
            backlog: (n == 2).then_some(128),
            ..with_owner(listener(), drops(DropKind::SynQueueFull, n))
        }),
        "syn_backlog_reserve" => for_each(|n| Evidence {
            settings: SysctlValues {
                max_syn_backlog: (n == 2).then_some(64),
                syncookies: Some(0),
                ..SysctlValues::default()
            },
            ..with_owner(listener(), drops(DropKind::SynBacklogReserve, n))
        }),
        "syn_flood_absorbed" => [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)].map(cookies).into(),
        "syncookies_always" => {
            let mut cases = for_each(|n| always_cookies(n, Some((0, 1024))));
            cases.push(("2 affected, some under way".to_owned(), always_cookies(2, Some((3, 1024)))));
            cases.push(("2 affected, queue not known".to_owned(), always_cookies(2, None)));
            cases
        }
        "listener_closed" => {
            let closed = |n, owner| Evidence {
                closed: true,
                owner,
                settings: SysctlValues { migrate_req: Some(0), ..SysctlValues::default() },
                ..charged(resets(ResetCause::ListenerClosed, n))
            };
            let mut cases = for_each(|n| closed(n, nginx()));
            cases.push(("2 affected, process unknown".to_owned(), closed(2, None)));
            cases
        }
        "keepalive_race" => keepalive_race(),
        "server_stopped" => [(1, 0, false), (2, 0, true), (0, 1, false), (0, 2, true), (2, 3, false)]
            .map(|(reset, refused, reopened)| {
                let since =
                    both(resets(ResetCause::NoConnection, reset), resets(ResetCause::NoListener, refused));
                let ago = Duration::from_secs(42 * (reset + refused).pow(2));
                let stopped = Some(Stopped {
                    ago,
                    owner: nginx(),
                    reopened,
                    since,
                    times: 1 + u64::from(reopened),
                    refused,
                });
                let name = format!(
                    "{} affected: {reset} reset, {refused} refused{}",
                    reset + refused,
                    if reopened { ", listens again" } else { "" }
                );
                (name, Evidence { stopped, ..with_owner(endpoint(), since) })
            })
            .into(),
        "after_close" => {
            let raced = |n| with_owner(endpoint(), resets(ResetCause::AfterClose, n));
            let mut cases = for_each(raced);
            cases.push(("2 affected, process unknown".to_owned(), Evidence { owner: None, ..raced(2) }));
            cases
        }
        "closed_port" => closed_port(),
        "no_connection" => no_connection(),
        "peer_closing" => of_resets(ResetCause::PeerClosing),
        "reset_again" => of_resets(ResetCause::Again),
        "unread_data" => of_resets(ResetCause::CloseUnreadData),
        "linger_zero" => of_resets(ResetCause::LingerZero),
        "unknown_connection" => of_resets(ResetCause::UnknownConnection),
        "peer_gone" => of_resets(ResetCause::KeepaliveTimeout),
        "out_of_memory" => of_resets(ResetCause::OutOfMemory),
        "handshake_aborted" => of_resets(ResetCause::HandshakeAborted),
        "other_resets" => of_resets(ResetCause::Other),
        "other_drops" => for_each(|n| with_owner(listener(), drops(DropKind::OtherSyn, n))),
        "handshakes_reset_by_peers" => {
            for_each(|n| with_owner(listener(), kernel(&[(KernelCounter::EmbryonicRsts, n)])))
        }
        "netqueue_blind" => netqueue_blind(),
        unknown => panic!("{unknown} has no cases: add some for 1 and 2 affected clients"),
    }
}

/// Builds the cases of 1 and of 2 affected.
fn for_each(case: impl Fn(u64) -> Evidence) -> Cases {
    [1, 2].map(|n| (format!("{n} affected"), case(n))).into()
}

/// Builds the cases of 1 and of 2 affected, each while the incident goes on and after it is over.
fn for_each_and_over(case: impl Fn(u64, bool) -> Evidence) -> Cases {
    let both = [(1, false), (1, true), (2, false), (2, true)];
    both.map(|(n, over)| (format!("{n} affected, {}", if over { "over" } else { "going on" }), case(n, over)))
        .into()
}

fn with_owner(subject: Subject, counts: Counts) -> Evidence {
    Evidence { owner: nginx(), peers: peers(1), ..Evidence::of(subject, window(), counts) }
}

fn of_resets(cause: ResetCause) -> Cases {
    for_each(|n| with_owner(endpoint(), resets(cause, n)))
}

fn peers(number: u8) -> Vec<(IpAddr, u64)> {
    (1..=number).map(|last| (IpAddr::from([192, 0, 2, last]), u64::from(number - last + 1))).collect()
}

/// Creates evidence of an accept queue that was full for `n` clients.
fn full(n: u64) -> Evidence {
    Evidence {
        counts: drops(DropKind::AcceptQueueFullSyn, n),
        counterfactual: answer(backlog(130), n),
        ..burst()
    }
}

fn accept_queue_stalled() -> Cases {
    let mut cases = for_each_and_over(|n, over| match over {
        true => stalled(12, n as u32, full(n)),
        false => stalls(48, n as u32, full(n)),
    });
    cases.push(("2 affected, early".to_owned(), stalls(6, 129, full(2))));
    let closed = Evidence { closed: true, closed_at: Some(seconds(140)), ..stalled(96, 9, full(2)) };
    cases.push(("2 affected, until it was closed".to_owned(), closed));
    cases.push((
        "2 packets at the final ACK, neither clients nor process known".to_owned(),
        Evidence {
            counterfactual: None,
            owner: None,
            backlog: None,
            settings: SysctlValues::default(),
            counts: drops(DropKind::AcceptQueueFullAck, 2),
            ..stalled(12, 2, full(2))
        },
    ));
    cases
}

fn accept_queue_waiting() -> Cases {
    let quiet = Evidence { backlog: Some(4096), counterfactual: None, flow: None, ..full(0) };
    let quiet = || Evidence { counts: Counts::default(), ..quiet.clone() };
    let mut cases = for_each_and_over(|n, over| match over {
        true => Evidence { dropped: None, ..stalled(30, n as u32, quiet()) },
        false => Evidence { dropped: None, ..stalls(48, n as u32, quiet()) },
    });
    let wait = |connections| Wait { oldest: Duration::from_secs(23), connections, at: seconds(160) };
    let slow = |n| {
        let accepting = Accepting {
            waits: Some(wait(n)),
            longest_wait: Some(wait(n)),
            flow: flow(60, 180, 60),
            ..Accepting::default()
        };
        Evidence { accepting, ..quiet() }
    };
    cases.push(("1 waits, accepts go on".to_owned(), slow(1)));
    cases.push(("70 wait, accepts go on".to_owned(), slow(70)));
    let over = Accepting { waits: None, ..slow(70).accepting };
    cases.push(("70 waited, accepts go on".to_owned(), Evidence { accepting: over, ..quiet() }));
    cases.push((
        "2 wait, early, of a backlog of 3".to_owned(),
        Evidence { dropped: None, backlog: Some(3), ..stalls(6, 2, quiet()) },
    ));
    cases.push((
        "2 wait, dropped earlier, process unknown".to_owned(),
        Evidence {
            dropped: Some((seconds(100), seconds(101))),
            owner: None,
            counts: drops(DropKind::AcceptQueueFullSyn, 1),
            ..stalls(48, 2, quiet())
        },
    ));
    cases
}

fn accept_queue_burst() -> Cases {
    let mut cases = for_each(full);
    let early = Evidence {
        dropped: Some((seconds(153), seconds(159))),
        counterfactual: answer(Remedy::TooEarly, 2),
        ..full(2)
    };
    cases.push(("2 affected, early".to_owned(), early));
    cases.push(("2 affected, listen() not seen".to_owned(), {
        Evidence { bound_by: Some(Bound::Unseen), listen_argument: None, ..full(2) }
    }));
    let remedy =
        Remedy::Backlog { smallest: 600, proposed: 638, longest_wait: Some(Duration::from_millis(1_240)) };
    let default = Evidence {
        counterfactual: answer(remedy, 2),
        backlog: Some(511),
        listen_argument: Some(511),
        settings: SysctlValues { somaxconn: Some(511), ..full(2).settings },
        counts: both(drops(DropKind::AcceptQueueFullAck, 1), drops(DropKind::AcceptQueueFullCookieAck, 1)),
        ..full(2)
    };
    let capped = Evidence { bound_by: Some(Bound::Somaxconn), listen_argument: Some(4096), ..full(2) };
    let abort = Evidence {
        settings: SysctlValues { abort_on_overflow: Some(1), ..full(1).settings },
        counts: drops(DropKind::AcceptQueueFullAck, 1),
        counterfactual: None,
        ..full(1)
    };
    cases.push(("2 affected, after the SYN, backlog by default".to_owned(), default));
    cases.push(("2 affected, backlog by somaxconn".to_owned(), capped));
    cases.push(("1 packet, tcp_abort_on_overflow, clients unknown".to_owned(), abort));
    cases
}

fn reuseport_member_stalled() -> Cases {
    let group = |others, well| Some(Group { others, well, drops: 0, accepts_known: true });
    let mut cases = for_each(|n| Evidence { group: group(n as u32, n as u32), ..full(n) });
    cases.push((
        "2 affected, 1 of 2 others healthy".to_owned(),
        Evidence { group: group(2, 1), owner: None, ..full(2) },
    ));
    cases.push(("2 packets, clients unknown".to_owned(), {
        Evidence { group: group(3, 2), counterfactual: None, ..full(2) }
    }));
    cases
}

fn ghost_connections() -> Cases {
    let ghosts = |seen: Handshakes| {
        let counts = drops(DropKind::AcceptQueueFullCookieAck, seen.ghosts).with_handshakes(seen);
        Evidence { counterfactual: answer(backlog(130), seen.ghosts), ..with_owner(listener(), counts) }
    };
    let mut cases = for_each_and_over(|n, over| {
        ghosts(Handshakes { ghosts: n, ghosts_ended: if over { n } else { 0 }, ..Handshakes::default() })
    });
    let others = [
        ("1 got in", Handshakes { ghosts: 1, ghosts_recovered: 1, ..Handshakes::default() }),
        ("2 got in", Handshakes { ghosts: 2, ghosts_recovered: 2, ..Handshakes::default() }),
        ("3 gave up", Handshakes { ghosts: 3, ghosts_given_up: 3, ..Handshakes::default() }),
        ("38, none heard from", Handshakes { ghosts: 38, ..Handshakes::default() }),
        ("2, of which 1 was reset", Handshakes { ghosts: 2, ghosts_ended: 1, ..Handshakes::default() }),
        ("6, of each outcome 1 or 2", {
            let some = Handshakes { ghosts_ended: 1, ghosts_given_up: 2, ..Handshakes::default() };
            Handshakes { ghosts: 6, ghosts_recovered: 2, ..some }
        }),
    ];
    cases.extend(others.map(|(name, seen)| (name.to_owned(), ghosts(seen))));
    let smtp = AccountKey::Listener { socket: SocketId(1), at: Endpoint { port: 25, ..at() } };
    let mail = Evidence {
        subject: Subject::Account(AccountId(1), smtp),
        ..ghosts(Handshakes { ghosts: 2, ..Handshakes::default() })
    };
    cases.push(("2 affected at the port of SMTP".to_owned(), mail));
    cases
}

fn expired_handshakes() -> Cases {
    let expired = |n, retries| {
        let seen = Handshakes { suspended: n, timed_out: n, expired: n, ..Handshakes::default() };
        let counts = resets(ResetCause::ExpiredHandshake, n).with_handshakes(seen);
        Evidence {
            settings: SysctlValues { synack_retries: retries, ..SysctlValues::default() },
            ..with_owner(listener(), counts)
        }
    };
    let mut cases = for_each(|n| Evidence {
        ages: Some((Duration::from_millis(8_100), Duration::from_millis(8_100 + 4_700 * (n - 1)))),
        ..expired(n, Some(n as u32))
    });
    cases.push(("2 affected, age unknown".to_owned(), expired(2, Some(5))));
    cases
}

fn cookies((full, received): (u64, u64)) -> (String, Evidence) {
    let counts = kernel(&[
        (KernelCounter::SyncookiesSent, full),
        (KernelCounter::ReqQFullDoCookies, full),
        (KernelCounter::SyncookiesRecv, received),
    ]);
    (format!("{received} of {full} cookies received"), with_owner(listener(), counts))
}

fn keepalive_race() -> Cases {
    let raced =
        |n, idle_limit| Evidence { idle_limit, ..with_owner(endpoint(), resets(ResetCause::AfterClose, n)) };
    let seen = |n: u32| {
        let least = Duration::from_millis(4_950);
        IdleLimit { least, most: least + Duration::from_millis(130) * (n - 1), connections: n }
    };
    let mut cases = for_each(|n| raced(n, Some(seen(n as u32))));
    cases.push((
        "2 affected, process unknown".to_owned(),
        Evidence { owner: None, ..raced(2, Some(seen(3))) },
    ));
    cases
}

/// Builds evidence of a namespace in which tcp_syncookies is 2.
fn always_cookies(n: u64, queue: Option<(u32, u32)>) -> Evidence {
    Evidence {
        settings: SysctlValues { syncookies: Some(2), ..SysctlValues::default() },
        syn_queue: queue.map(|(length, limit)| QueueState { length, limit }),
        ..with_owner(
            listener(),
            kernel(&[(KernelCounter::ReqQFullDoCookies, n), (KernelCounter::SyncookiesSent, n)]),
        )
    }
}

fn closed_port() -> Cases {
    let refused = |n| with_owner(endpoint(), resets(ResetCause::NoListener, n));
    let mut cases = for_each(refused);
    cases.push(("3 affected, 2 peers".to_owned(), Evidence { peers: peers(2), ..refused(3) }));
    let scan =
        Evidence { subject: Subject::Namespace(at().netns), ports: 12, peers: Vec::new(), ..refused(12) };
    cases.push(("12 affected, 12 ports, peers unknown".to_owned(), scan));
    cases
}

fn no_connection() -> Cases {
    let strays = |n| with_owner(endpoint(), resets(ResetCause::NoConnection, n));
    let at_client = |n| Evidence {
        subject: Subject::Account(
            AccountId(3),
            AccountKey::Ephemeral { netns: at().netns, addr: IpAddr::from([192, 0, 2, 9]) },
        ),
        ..strays(n)
    };
    let mut cases = for_each(strays);
    cases.extend([1, 2].map(|n| (format!("{n} affected at a client"), at_client(n))));
    let many = Evidence { subject: Subject::Namespace(at().netns), ports: 12, peers: peers(2), ..strays(12) };
    cases.push(("12 affected, 12 ports, 2 peers".to_owned(), many));
    cases
}

fn netqueue_blind() -> Cases {
    let blind = |sight| Evidence { sight, ..Evidence::of(Subject::Netqueue, window(), Counts::default()) };
    let functions = ["tcp_v4_syn_recv_sock", "tcp_check_req"];
    let mut cases = for_each(|n| {
        blind(Visibility {
            unattached: functions.iter().take(n as usize).map(|function| (*function).into()).collect(),
            missed: n,
            lost_charges: n,
            residual: n,
            obstacles: Vec::new(),
        })
    });
    let obstacles = vec![Obstacle::FtraceOff];
    cases.push((
        "ftrace is off".to_owned(),
        blind(Visibility { obstacles, residual: 7, ..Visibility::default() }),
    ));
    cases
}
