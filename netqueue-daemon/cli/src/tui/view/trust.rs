//! The last line: whether the numbers are exact, and how fresh.

use netqueue_api::Status;
use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{style::Look, table};
use crate::{
    format,
    terminal::plain,
    tui::model::{Link, Model},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look, now: Instant) {
    if model.typing || !model.filter.is_empty() {
        let cursor = if model.typing { "_   Enter keeps it, Esc clears it" } else { "   Esc clears it" };
        let line = Line::from(vec![
            Span::styled("search: ", look.head()),
            Span::raw(plain(&model.filter)),
            Span::styled(cursor, look.dim()),
        ]);
        return frame.render_widget(Paragraph::new(line), area);
    }
    let mut spans = Vec::new();
    if let Link::Failing(age, why) = model.link(now) {
        let seconds = age.as_secs();
        let stale = if model.look.is_some() { "these numbers are old" } else { "nothing to show" };
        spans.push(Span::styled(format!("NO ANSWER for {seconds} s, {stale}: {}", plain(&why)), look.bad()));
    } else if let Some(status) = model.status() {
        let (word, style) = verdict(status, look);
        spans.push(Span::styled(word, style));
        if let Some(seen) = &model.look {
            let lost = status.lost();
            let style = if lost > 0 { look.warn() } else { look.dim() };
            spans.push(Span::styled(format!("  {} lost", format::count(lost)), style));
            if !seen.warnings.is_empty() {
                let warnings = format::plural(seen.warnings.len() as u64, "warning");
                spans.push(Span::styled(format!("  {warnings}"), look.warn()));
            }
            let at = format::clock(&status.taken);
            let at = at.split('.').next().unwrap_or_default().to_owned();
            spans.push(Span::styled(format!("  {at} UTC{}", table::shown(model.show)), look.dim()));
        }
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
    let keys = Line::styled(" ? help  q quit", look.dim()).alignment(Alignment::Right);
    let width = u16::try_from(keys.width()).unwrap_or(0).min(area.width);
    let corner = Rect { x: area.right() - width, width, ..area };
    frame.render_widget(Paragraph::new(keys), corner);
}

/// Returns the reconciliation with the kernel's counters as text and style.
fn verdict(status: &Status, look: Look) -> (String, Style) {
    let off: u64 = status
        .reconciliation
        .iter()
        .flat_map(|balance| balance.counters.values())
        .map(|balance| balance.residual.unsigned_abs())
        .sum();
    let blind = status.probes.iter().filter(|probe| !probe.attached).count();
    if !status.is_ready() {
        (format!("BLIND: {blind} of {} probes not attached", status.probes.len()), look.bad())
    } else if off > 0 {
        (format!("NOT EXACT: residual {}", format::count(off)), look.bad())
    } else if status.reconciliation.is_empty() {
        ("not compared yet".to_owned(), look.warn())
    } else if blind > 0 {
        (format!("exact, {blind} probes not attached"), look.warn())
    } else {
        ("EXACT residual 0".to_owned(), look.good())
    }
}
