//! Draws the model; equal models on equal terminals give equal screens.

mod bars;
mod detail;
mod events;
mod header;
mod help;
mod style;
mod table;
#[cfg(test)]
mod tests;
mod trust;

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
};

pub(super) use style::{Look, speaks_utf8, wants_colour};

use super::model::{Model, Page};

/// Below this height the table takes the whole screen.
const ROOM_FOR_EVENTS: u16 = 18;

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, look: Look, now: Instant) {
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(header::height(model)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header::draw(frame, top, model, look, now);
    trust::draw(frame, bottom, model, look, now);
    match model.page {
        Page::Help => help::draw(frame, middle, look),
        Page::Detail => detail::draw(frame, middle, model, look),
        Page::Table => overview(frame, middle, model, look, now),
    }
}

/// Draws the table, and below it the chosen account's causes and the newest events.
fn overview(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look, now: Instant) {
    let rows = model.rows();
    if area.height < ROOM_FOR_EVENTS {
        return table::draw(frame, area, model, &rows, look, now);
    }
    let table_needs = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(1).max(5);
    let below = (area.height * 45 / 100).max(9);
    let table_height = table_needs.min(area.height - below);
    let [upper, lower] = Layout::vertical([Constraint::Length(table_height), Constraint::Min(0)]).areas(area);
    table::draw(frame, upper, model, &rows, look, now);
    let chosen = rows.get(model.chosen(&rows)).copied();
    if lower.width >= 140 {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(45), Constraint::Percentage(55)]).areas(lower);
        detail::story(frame, left, chosen, model, look);
        events::draw(frame, right, model, look);
    } else {
        let parts = chosen.map_or(0, |one| one.drops.by_cause.len() + one.resets.by_cause.len());
        let causes_height = u16::try_from(parts).unwrap_or(u16::MAX).clamp(1, 4) + 1;
        let [left, right] =
            Layout::vertical([Constraint::Length(causes_height), Constraint::Min(0)]).areas(lower);
        detail::causes(frame, left, chosen, look);
        events::draw(frame, right, model, look);
    }
}
