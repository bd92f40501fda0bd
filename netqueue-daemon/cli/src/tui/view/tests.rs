//! The screen as a user sees it, at the sizes people have.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use netqueue_api::Queue;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::json;

use super::{Look, draw};
use crate::{
    client::{ClientError, Server},
    tui::{
        feed::{self, News},
        keys,
        model::{Model, Sort},
    },
};

const LOOK: Look = Look { ascii: false, colour: false };

fn look(second: u64) -> feed::Look {
    let drops = |number: u64| json!({"total": number, "by_cause": [{"cause": "accept_queue_full", "stage": "syn", "count": number}]});
    let none = json!({"total": 0, "by_cause": []});
    let listeners = json!([
        {"id": "1", "kind": "listener", "netns": "host", "addr": "0.0.0.0", "port": 8081, "process": "slow\u{1b}[2J",
         "accept_queue": {"length": 9, "limit": 8}, "syn_queue": {"length": 3, "limit": 8},
         "drops": {"total": 100 + 60 * second, "by_cause": [
             {"cause": "accept_queue_full", "stage": "ack", "count": 40 + 20 * second},
             {"cause": "accept_queue_full", "stage": "syn", "count": 60 + 40 * second}]},
         "resets": none, "ghosts": {"live": 2, "total": 2, "recovered": 0, "ended": 0}},
        {"id": "2", "kind": "listener", "netns": "4026532142", "addr": "::", "port": 443, "process": "nginx",
         "accept_queue": {"length": 100, "limit": 511}, "syn_queue": {"length": 0, "limit": 511},
         "drops": drops(7), "resets": none},
        {"id": "3", "kind": "endpoint", "netns": "host", "addr": "127.0.0.1", "port": 81,
         "drops": none, "resets": {"total": 12 * second, "by_cause": [{"cause": "no_listener", "count": 12 * second}]}},
    ]);
    let status = json!({
        "version": "0.1.0", "attached": "2026-11-21T02:00:00Z", "taken": format!("2026-11-21T02:03:{second:02}Z"), "mode": "kprobe",
        "probes": [{"program": "p", "function": "f", "required": true, "attached": true}],
        "reconciliation": [{"netns": "host", "exact": true, "counters": {"ListenDrops": {"kernel": 9, "since_attach": 9, "attributed": 9, "residual": 0}}}],
        "events": {"seen": 9, "stored": 9, "lost": {"ring_full": 0}, "folded": 0},
    });
    let events = json!([
        {"seq": 2, "time": "2026-11-21T02:03:00.250Z", "kind": "drop", "listener": "1", "netns": "host", "addr": "0.0.0.0", "port": 8081,
         "peer": {"addr": "::ffff:10.9.9.3", "port": 40000}, "stage": "ack", "cause": "accept_queue_full", "accept_queue": {"length": 9, "limit": 8}},
        {"seq": 1, "time": "2026-11-21T02:02:59.001Z", "kind": "reset", "listener": "3", "netns": "host", "addr": "127.0.0.1", "port": 81,
         "cause": "no_listener"},
    ]);
    let verdicts = json!([
        {"rule": "accept_queue_slow", "title": "Accept queue full: the process accepts too slowly", "impact": "delayed", "affected": 9,
         "confidence": "high", "summary": "It accepts 44 connections per second and 181 arrive.", "clients_see": "a delay of a second",
         "subject": {"kind": "listener", "listener": "1", "netns": "host", "addr": "0.0.0.0", "port": 8081,
                     "process": {"name": "slow", "pid": 7, "unit": null}},
         "because": {"rule": "x", "summary": "one thing led to another"},
         "advice": ["Let it accept faster: no backlog would have been enough."],
         "knobs": [{"name": "workers", "set_by": "its configuration", "current": "1", "proposed": "5"}]},
    ]);
    let spikes = json!([
        {"id": "1", "scope": "namespace", "listener": null, "netns": "host", "netns_inode": 1, "netns_generation": 0, "addr": null, "port": null,
         "cause": "any", "active": true, "started": "2026-11-21T02:02:59.100Z", "detected": "2026-11-21T02:03:00Z",
         "last_drop": "2026-11-21T02:03:01Z", "ended": null, "drops": 1240, "peak_per_second": 61, "baseline_per_second": 0.1,
         "clients": {"addresses": 1, "connections": 9, "at_least": false}},
        {"id": "2", "scope": "listener", "listener": "1", "netns": "host", "netns_inode": 1, "netns_generation": 0, "addr": "0.0.0.0", "port": 8081,
         "cause": "accept_queue_full", "active": true, "started": "2026-11-21T02:02:59.100Z", "detected": "2026-11-21T02:03:00Z",
         "last_drop": "2026-11-21T02:03:01Z", "ended": null, "drops": 1240, "peak_per_second": 60, "baseline_per_second": 0.1,
         "clients": {"addresses": 1, "connections": 9, "at_least": false}},
    ]);
    let parse = "the client's own types";
    feed::Look {
        status: serde_json::from_value(status).expect(parse),
        warnings: Vec::new(),
        listeners: serde_json::from_value(listeners).expect(parse),
        events: serde_json::from_value(events).expect(parse),
        verdicts: serde_json::from_value(verdicts).expect(parse),
        spikes: serde_json::from_value(spikes).expect(parse),
    }
}

/// A screen after twenty seconds of trouble.
fn watched() -> (Model, Instant) {
    let begin = Instant::now();
    let mut model = Model::new("http://127.0.0.1:10124".into(), Sort::Drops);
    for second in 0..20 {
        model.hear(News::Look(begin + Duration::from_secs(second), Ok(Box::new(look(second)))));
    }
    (model, begin + Duration::from_secs(19))
}

fn screen(model: &Model, (width, height): (u16, u16), now: Instant, look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal.draw(|frame| draw(frame, model, look, now)).expect("memory");
    terminal.backend().to_string()
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            key => KeyCode::Char(key),
        };
        keys::press(model, KeyEvent::new(code, KeyModifiers::NONE));
    }
}

#[test]
fn at_80_by_24_everything_that_matters_is_there() {
    let (model, now) = watched();
    assert_snapshot!(screen(&model, (80, 24), now, LOOK));
}

#[test]
fn at_200_by_50_there_is_more() {
    let (model, now) = watched();
    assert_snapshot!(screen(&model, (200, 50), now, LOOK));
}

#[test]
fn a_terminal_without_unicode_is_served() {
    let (model, now) = watched();
    let text = screen(&model, (80, 24), now, Look { ascii: true, colour: false });
    assert!(text.lines().all(|line| line.is_ascii()), "{text}");
    assert_snapshot!(text);
}

#[test]
fn the_chosen_listener_is_explained_and_cannot_draw_on_the_terminal() {
    let (mut model, now) = watched();
    press(&mut model, "\n");
    let text = screen(&model, (80, 24), now, LOOK);
    assert!(!text.contains('\u{1b}'));
    assert_snapshot!(text);
}

#[test]
fn help_lists_every_key() {
    let (mut model, now) = watched();
    press(&mut model, "?");
    assert_snapshot!(screen(&model, (80, 24), now, LOOK));
}

#[test]
fn no_size_is_too_small() {
    let (mut model, now) = watched();
    for keys in ["", "?", "x\n", "\u{1b}/a"] {
        press(&mut model, keys);
        for size in [(1, 1), (3, 2), (20, 5), (40, 10), (60, 18), (79, 23), (500, 200)] {
            screen(&model, size, now, LOOK);
        }
    }
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be_and_the_old_numbers_stay() {
    let (mut model, now) = watched();
    let server: Server = "http://127.0.0.1:10124".parse().expect("a server");
    model.hear(News::Look(now, Err(ClientError::NotRunning { server })));
    let text = screen(&model, (80, 24), now + Duration::from_secs(7), LOOK);
    assert!(text.contains("NO ANSWER for 7 s, these numbers are old: nothing listens"), "{text}");
    assert!(text.contains("0.0.0.0:8081"), "{text}");
}

#[test]
fn what_does_not_add_up_is_said_in_the_last_line() {
    let (mut model, now) = watched();
    let mut bad = look(20);
    for balance in &mut bad.status.reconciliation {
        balance.counters.values_mut().for_each(|row| row.residual = -3);
    }
    bad.status.events.lost.insert("ring_full".into(), 1200);
    model.hear(News::Look(now + Duration::from_secs(1), Ok(Box::new(bad))));
    let text = screen(&model, (80, 24), now, LOOK);
    assert!(text.contains("NOT EXACT: residual 3  1,200 lost"), "{text}");
}

#[test]
fn a_full_queue_is_no_all_clear_while_nobody_is_dropped() {
    let begin = Instant::now();
    let said = |queue: u32| {
        let mut model = Model::new("http://127.0.0.1:10124".into(), Sort::Drops);
        for second in 0..3 {
            let mut look = look(0);
            look.listeners[0].accept_queue = Some(Queue { length: queue, limit: 8 });
            model.hear(News::Look(begin + Duration::from_secs(second), Ok(Box::new(look))));
        }
        screen(&model, (80, 24), begin + Duration::from_secs(2), LOOK)
    };
    assert!(said(9).contains("one accept queue full, no drop just now"), "{}", said(9));
    assert!(said(8).contains("nothing is being dropped"), "{}", said(8));
}

#[test]
fn the_chosen_one_stays_chosen_when_the_order_changes() {
    let (mut model, _) = watched();
    let chosen = |model: &Model| {
        let rows = model.rows();
        rows.get(model.chosen(&rows)).map(|row| row.id.clone())
    };
    assert_eq!(chosen(&model).as_deref(), Some("1"));
    press(&mut model, "↓");
    let second = chosen(&model);
    assert_ne!(second.as_deref(), Some("1"));
    for order in ["f", "r", "n", "d", "s", "s"] {
        press(&mut model, order);
        assert_eq!(chosen(&model), second, "{order}");
    }
}

#[test]
fn a_search_narrows_the_table_and_escape_widens_it() {
    let (mut model, now) = watched();
    press(&mut model, "/nginx");
    assert_eq!(model.rows().len(), 1);
    assert!(screen(&model, (80, 24), now, LOOK).contains("search: nginx_"));
    press(&mut model, "\u{1b}");
    assert_eq!(model.rows().len(), 3);
    press(&mut model, "a");
    assert_eq!(model.rows().len(), 2);
}

#[test]
fn held_still_the_numbers_stay() {
    let (mut model, now) = watched();
    press(&mut model, "p");
    let before = screen(&model, (80, 24), now, LOOK);
    model.hear(News::Look(now + Duration::from_secs(1), Ok(Box::new(look(40)))));
    assert!(before.contains("HELD STILL"));
    let after = screen(&model, (80, 24), now, LOOK);
    assert_eq!(before.contains("1,240"), after.contains("1,240"), "{after}");
    assert!(!after.contains("2,500"), "{after}");
}

#[test]
fn events_come_between_two_looks_and_none_comes_twice() {
    let (mut model, _) = watched();
    let seen: Vec<_> = model.events.iter().map(|event| event.seq).collect();
    assert_eq!(seen, [2, 1]);
    let event = |seq: u64| {
        serde_json::from_value(
            json!({"seq": seq, "time": "2026-11-21T02:03:01Z", "kind": "drop", "netns": "host",
            "cause": "accept_queue_full", "stage": "syn"}),
        )
        .expect("an event")
    };
    model.hear(News::Events(vec![event(2), event(3)]));
    press(&mut model, "p");
    model.hear(News::Events(vec![event(4)]));
    assert_eq!(model.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 2, 1]);
}
