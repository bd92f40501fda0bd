//! Situations in which rules must stay silent.

use super::*;

/// Asserts that no rule applies to the evidence.
#[track_caller]
fn nothing(evidence: &Evidence) {
    assert_eq!(rules(evidence), Vec::<&str>::new());
}

#[test]
fn a_healthy_listener_gets_no_verdict() {
    nothing(&Evidence { counterfactual: None, flow: flow(60, 90_000, 90_000), ..burst_free() });
}

/// Creates evidence of a busy listener that dropped nothing, and that may always send cookies.
fn burst_free() -> Evidence {
    charged(kernel(&[(KernelCounter::SyncookiesSent, 900), (KernelCounter::SyncookiesRecv, 900)]))
}

#[test]
fn netqueue_is_not_blind_when_it_sees() {
    nothing(&Evidence::of(Subject::Netqueue, window(), Counts::default()));
}

#[test]
fn events_lost_do_not_make_it_blind() {
    // Counts are exact without events: only lost charges matter here.
    nothing(&Evidence {
        sight: Visibility::default(),
        ..Evidence::of(Subject::Netqueue, window(), Counts::default())
    });
}

#[test]
fn what_this_host_resets_as_a_client_hurts_nobody_it_serves() {
    let key = AccountKey::Ephemeral { netns: at().netns, addr: at().addr };
    for cause in
        [ResetCause::AfterClose, ResetCause::CloseUnreadData, ResetCause::LingerZero, ResetCause::NoListener]
    {
        nothing(&Evidence { subject: Subject::Account(AccountId(3), key), ..charged(resets(cause, 900)) });
    }
}

#[test]
fn only_a_full_queue_with_nobody_accepting_is_a_stall() {
    let stalled = |evidence: &Evidence| rules(evidence).contains(&"accept_queue_stalled");
    assert!(!stalled(&burst()), "accepts are seen");
    let idle = Evidence { dropped: None, ..stalls(60, 3, charged(Counts::default())) };
    assert!(!stalled(&idle), "nobody was refused");
    assert_eq!(rules(&idle), ["accept_queue_waiting"]);
}

#[test]
fn a_burst_is_no_overload_and_an_overload_no_burst() {
    assert_eq!(rules(&burst()), ["accept_queue_burst"]);
    let slow =
        Evidence { counterfactual: answer(Remedy::Faster { arrivals: 2.0, accepts: 1.0 }, 9), ..burst() };
    assert_eq!(rules(&slow), ["accept_queue_slow"]);
}

#[test]
fn a_limit_in_force_needs_no_relisten() {
    for bound_by in [Some(Bound::ListenArgument), Some(Bound::Somaxconn), None] {
        assert!(!rules(&Evidence { bound_by, ..burst() }).contains(&"limit_needs_relisten"));
    }
    let quiet = Evidence { bound_by: Some(Bound::EarlierSomaxconn), ..charged(Counts::default()) };
    nothing(&quiet);
}

#[test]
fn a_group_in_which_nobody_accepts_is_not_one_member_s_fault() {
    let group = Some(Group { others: 3, well: 0, drops: 0, accepts_known: true });
    assert_eq!(rules(&Evidence { group, ..burst() }), ["accept_queue_burst"]);
}

#[test]
fn a_syn_queue_that_fills_because_the_accept_queue_did_is_a_consequence() {
    let counts = both(drops(DropKind::AcceptQueueFullSyn, 900), drops(DropKind::SynQueueFull, 300));
    assert_eq!(rules(&Evidence { counts, ..burst() }), ["accept_queue_burst"]);
    let counts = both(drops(DropKind::AcceptQueueFullSyn, 900), drops(DropKind::SynBacklogReserve, 300));
    assert_eq!(rules(&Evidence { counts, ..burst() }), ["accept_queue_burst"]);
}

#[test]
fn cookies_that_did_not_save_everybody_are_not_called_harmless() {
    let cookies = kernel(&[(KernelCounter::SyncookiesSent, 540), (KernelCounter::ReqQFullDoCookies, 540)]);
    let counts = both(cookies, drops(DropKind::AcceptQueueFullCookieAck, 4));
    assert!(!rules(&charged(counts)).contains(&"syn_flood_absorbed"));
}

#[test]
fn ghosts_that_were_reset_are_not_expired_handshakes_too() {
    let ghosts = Handshakes { ghosts: 2, ghosts_ended: 2, ..Handshakes::default() };
    let counts = resets(ResetCause::ExpiredHandshake, 2).with_handshakes(ghosts);
    assert_eq!(rules(&charged(counts)), ["ghost_connections"]);
}

#[test]
fn our_own_aborts_are_no_scan() {
    let counts = both(kernel(&[(KernelCounter::EmbryonicRsts, 6)]), resets(ResetCause::OverflowAbort, 6));
    assert!(!rules(&charged(counts)).contains(&"handshakes_reset_by_peers"));
}
