//! The lines at the top: the daemon, the rates, and the most urgent news.

use std::time::Instant;

use netqueue_api::Listener;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::style::Look;
use crate::{
    format,
    terminal::plain,
    tui::model::{Link, Model},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look, now: Instant) {
    let status = model.status();
    let mut first = vec![Span::styled("netqueue", look.head())];
    if let Some(status) = status {
        let watched = format::seconds_between(&status.attached, &status.taken).map(format::span);
        first.push(Span::raw(format!(" {} at {}", plain(&status.version), model.server)));
        let since = format!("  watching for {}", watched.unwrap_or_else(|| "?".into()));
        first.push(Span::styled(since, look.dim()));
    } else {
        first.push(Span::raw(format!(" at {}", model.server)));
    }
    if model.paused {
        first.push(Span::styled("  HELD STILL (p goes on)", look.warn()));
    }
    let lines =
        [Some(Line::from(first)), Some(rates(model, look, now)), spike(model, look), worst(model, look)];
    frame.render_widget(Paragraph::new(lines.into_iter().flatten().collect::<Vec<_>>()), area);
}

/// Number of lines the header takes.
pub(super) fn height(model: &Model) -> u16 {
    2 + u16::from(model.spike().is_some()) + u16::from(model.worst().is_some())
}

/// The line about the current spike.
fn spike(model: &Model, look: Look) -> Option<Line<'static>> {
    let spike = model.spike()?;
    let (place, cause) = (format::spike_place(spike), format::spike_cause(spike).replace('_', " "));
    let since = format::clock(&spike.started);
    let since = since.split('.').next().unwrap_or_default();
    let words = format!(
        "{}spike since {since}: {place} {cause}, {}, peak {}/s",
        look.sign("▲ ", "^ "),
        format::plural(spike.drops, "drop"),
        format::count(spike.peak_per_second)
    );
    Some(Line::styled(words, look.bad()))
}

/// The line about the worst verdict; the page of its listener has the details.
fn worst(model: &Model, look: Look) -> Option<Line<'static>> {
    let verdict = model.worst()?;
    let subject = &verdict.subject;
    let place = match (subject.addr, subject.port) {
        (None, None) => plain(subject.netns.as_deref().unwrap_or(&subject.kind)),
        (addr, port) => format::place(addr, port),
    };
    let process =
        subject.process.as_ref().map_or(String::new(), |process| format!(" {}", plain(&process.name)));
    Some(Line::from(vec![
        Span::styled(format!("{}{place}{process}: ", look.sign("⚑ ", "> ")), look.head()),
        Span::styled(plain(&verdict.title), look.impact(&verdict.impact)),
    ]))
}

/// The line with the current rates, or with the reason why there are none.
fn rates(model: &Model, look: Look, now: Instant) -> Line<'static> {
    let Some(seen) = &model.look else {
        return match model.link(now) {
            Link::Failing(_, why) => Line::styled(plain(&why), look.bad()),
            Link::Waiting | Link::Live => Line::styled("asking the daemon", look.dim()),
        };
    };
    let (mut dropping, mut drops, mut resets) = (0, 0.0, 0.0);
    for listener in &seen.listeners {
        let rate = model.history.drop_rate(&listener.id);
        dropping += u64::from(rate > 0.0);
        drops += rate;
        resets += model.history.reset_rate(&listener.id);
    }
    let ghosts: u64 = seen.listeners.iter().map(|listener| listener.ghosts.live).sum();
    let full = |listener: &&Listener| listener.accept_queue.is_some_and(|queue| queue.is_full());
    let full = seen.listeners.iter().filter(full).count() as u64;
    let mut spans = match (dropping, full) {
        (0, 0) => {
            vec![Span::styled(look.sign("✓ ", "").to_owned() + "nothing is being dropped", look.good())]
        }
        (0, full) => vec![Span::styled(
            format!(
                "{}{} full, no drop just now",
                look.sign("● ", "! "),
                format::plural(full, "accept queue")
            ),
            look.warn(),
        )],
        (number, _) => vec![Span::styled(
            format!(
                "{}{} listener{} dropping, {}/s",
                look.sign("● ", "! "),
                format::count(number),
                if number == 1 { "" } else { "s" },
                rate(drops)
            ),
            look.bad(),
        )],
    };
    spans.push(Span::raw(format!("   {} resets/s", rate(resets))));
    if ghosts > 0 {
        spans.push(Span::styled(format!("   {}", format::plural(ghosts, "ghost")), look.warn()));
    }
    Line::from(spans)
}

/// Formats a rate per second: `0`, `<0.1`, `4.2`, `1,200`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 0.1 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate => format::count(rate.round() as u64),
    }
}
