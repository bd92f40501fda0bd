//! Tests of the counterfactual backlog against a simulated queue.

use proptest::prelude::*;

use super::*;
use crate::Peer;

/// Simulates a listener of limit `backlog`, from which one connection is accepted every `pace` ms.
/// Clients come at `arrivals` (milliseconds); refused ones try again after 1, 3, 7 and 15 s. Returns the
/// refusals, and the connections that went through until the last new client was refused.
fn simulate(backlog: u32, arrivals: &[u64], pace: u64) -> (Vec<Refusal>, QueueFlow) {
    let mut tries: Vec<(u64, u16, u32)> =
        arrivals.iter().enumerate().map(|(client, at)| (*at, client as u16, 0)).collect();
    tries.sort_unstable_by(|one, other| other.cmp(one));
    let (mut queue, mut refusals, mut taken) = (0_u64, Vec::new(), 0);
    let (mut entered, mut next_accept) = (0, pace);
    let mut until_last = (0, 0, 0);
    while let Some((now, client, number)) = tries.pop() {
        while next_accept <= now {
            if queue > 0 {
                queue -= 1;
                taken += 1;
            }
            next_accept += pace;
        }
        if queue > u64::from(backlog) {
            let peer = Some(Peer { addr: Ipv4Addr::LOCALHOST.into(), port: client });
            refusals.push(Refusal { at: Timestamp::from_nanos(now * 1_000_000), peer, length: queue as u32 });
            if number == 0 {
                until_last = (now, entered, taken);
            }
            if number < 4 {
                let again = (now + (1000 << number), client, number + 1);
                let place = tries.partition_point(|other| *other > again);
                tries.insert(place, again);
            }
        } else {
            queue += 1;
            entered += 1;
        }
    }
    let (last, entered, accepted) = until_last;
    let first = arrivals.iter().min().copied().unwrap_or(0);
    let span = Duration::from_millis(last.saturating_sub(first));
    (refusals, QueueFlow { span, entered, accepted })
}

fn remedy(backlog: u32, refusals: Vec<Refusal>, flow: Option<QueueFlow>) -> Option<Counterfactual> {
    Overflow {
        drops: refusals.len() as u64,
        most_in_a_second: 0,
        limit: backlog,
        flow,
        episodes: episode(&refusals, flow),
        stage: Stage::Over,
        refusals,
    }
    .remedy()
}

fn episode(refusals: &[Refusal], arriving: Option<QueueFlow>) -> Vec<Episode> {
    let span = refusals.first().zip(refusals.last());
    span.map(|(first, last)| Episode { from: first.at, to: last.at, arriving, caught_up: Duration::ZERO })
        .into_iter()
        .collect()
}

fn backlog_of(answer: &Counterfactual) -> (u32, u32) {
    match answer.remedy {
        Remedy::Backlog { smallest, proposed, .. } => (smallest, proposed),
        Remedy::Faster { .. } | Remedy::TooEarly => panic!("{answer:?}"),
    }
}

#[test]
fn of_500_at_once_over_128_with_nobody_accepting_499_is_the_smallest_that_does() {
    let (refusals, flow) = simulate(128, &[0; 500], u64::MAX / 2);
    let answer = remedy(128, refusals, Some(flow)).expect("some were refused");
    assert_eq!((answer.refused, backlog_of(&answer).0), (371, 499));
    assert!(answer.assumptions.iter().any(|assumed| assumed.contains("accepted nothing")));
    assert!(simulate(499, &[0; 500], u64::MAX / 2).0.is_empty());
    assert!(!simulate(498, &[0; 500], u64::MAX / 2).0.is_empty());
}

#[test]
fn more_that_comes_than_goes_needs_no_backlog_but_speed() {
    // 340 a second for a minute, 200 accepted a second.
    let arrivals: Vec<u64> = (0..340 * 60).map(|n| n * 1000 / 340).collect();
    let (refusals, flow) = simulate(128, &arrivals, 5);
    let answer = remedy(128, refusals, Some(flow)).expect("some were refused");
    let Remedy::Faster { arrivals, accepts } = answer.remedy else { panic!("{answer:?}") };
    assert!((195.0..205.0).contains(&accepts), "{accepts}");
    assert!((300.0..380.0).contains(&arrivals), "{arrivals}");
}

/// A process that waits for clients between two bursts could accept more than it did.
#[test]
fn bursts_between_which_the_process_caught_up_need_a_backlog_and_no_speed() {
    // 16 clients at once, every 5 seconds, four times.
    let arrivals: Vec<u64> = (0..4).flat_map(|burst| [burst * 5000; 16]).collect();
    let (refusals, flow) = simulate(5, &arrivals, 30);
    let of = |caught_up| {
        let episodes = episode(&refusals, Some(flow)).into_iter();
        let overflow = Overflow {
            drops: refusals.len() as u64,
            most_in_a_second: 0,
            limit: 5,
            flow: Some(flow),
            episodes: episodes.map(|episode| Episode { caught_up, ..episode }).collect(),
            stage: Stage::Over,
            refusals: refusals.clone(),
        };
        overflow.remedy().expect("some were refused")
    };
    let never = of(Duration::ZERO);
    assert!(matches!(never.remedy, Remedy::Faster { .. }), "{never:?}");
    let between = of(Duration::from_secs(12));
    assert!((14..=16).contains(&backlog_of(&between).0), "{between:?}");
}

#[test]
fn where_nobody_counts_accepts_it_is_a_guess() {
    let (refusals, _) = simulate(8, &[0; 50], 1000);
    let answer = remedy(8, refusals, None).expect("some were refused");
    assert_eq!((answer.confidence, backlog_of(&answer).0), (Confidence::Low, 49));
}

#[test]
fn where_events_are_missing_counts_stand_in_and_it_is_less_sure() {
    let (refusals, flow) = simulate(128, &[0; 500], u64::MAX / 2);
    let (drops, few) = (refusals.len() as u64, refusals[..40].to_vec());
    let answer = Overflow {
        drops,
        most_in_a_second: 371,
        refusals: few,
        limit: 128,
        flow: Some(flow),
        episodes: Vec::new(),
        stage: Stage::Over,
    }
    .remedy()
    .expect("some were refused");
    assert_eq!((backlog_of(&answer).0, answer.refused, answer.confidence), (499, 371, Confidence::Medium));
    assert!(answer.assumptions.iter().any(|assumed| assumed.contains("40 of 1855 drops")), "{answer:?}");
}

#[test]
fn nothing_refused_needs_nothing() {
    assert_eq!(remedy(128, Vec::new(), None), None);
}

proptest! {
    /// Checks bursts of any size and speed against any server. With the smallest backlog nobody is refused;
    /// with a quarter less than proposed, somebody is.
    #[test]
    fn the_backlog_that_would_have_done_does_and_a_quarter_less_does_not(
        clients in 60_u64..600,
        spread in 0_u64..300,
        pace in 2_u64..60,
        backlog in 1_u32..128,
        seed in any::<u64>(),
    ) {
        let arrivals: Vec<u64> =
            (0..clients).map(|n| (seed.wrapping_mul(n * 2 + 1) >> 7) % (spread + 1)).collect();
        let (refusals, flow) = simulate(backlog, &arrivals, pace);
        prop_assume!(!refusals.is_empty());
        let answer = remedy(backlog, refusals, Some(flow)).expect("some were refused");
        let (smallest, proposed) = backlog_of(&answer);
        prop_assert!(simulate(smallest, &arrivals, pace).0.is_empty(), "{:?}", answer);
        // A queue that is emptied during the burst may need less: the answer is an upper bound there.
        prop_assume!(spread < pace * clients / 8);
        prop_assert!(!simulate(proposed * 3 / 4, &arrivals, pace).0.is_empty(), "{:?}", answer);
    }
}
