//! The newest events, as many as fit.

use netqueue_api::{Event, EventKind};
use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    text::Line,
    widgets::{Cell, Row, Table},
};

use super::{detail::block, style::Look};
use crate::{format, terminal::plain, tui::model::Model};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    if model.look.is_none() {
        return;
    }
    let block = block(" events, newest first (UTC) ".to_owned(), look);
    let inside = block.inner(area);
    if model.events.is_empty() {
        let text = ratatui::widgets::Paragraph::new("  none in the window that is held").style(look.dim());
        return frame.render_widget(text.block(block), area);
    }
    let rows = model.events.iter().take(usize::from(inside.height)).map(|event| row(event, look));
    let widths =
        [Constraint::Length(12), Constraint::Length(18), Constraint::Min(20), Constraint::Length(21)];
    let table = Table::new(rows.collect::<Vec<_>>(), widths).column_spacing(1).block(block);
    frame.render_widget(table, area);
}

fn row(event: &Event, look: Look) -> Row<'static> {
    let (sign, style) = match event.kind {
        EventKind::Drop => (look.sign("■", "-"), look.bad()),
        EventKind::Reset => (look.sign("○", "x"), look.reset()),
        EventKind::Unknown(_) => (look.sign("?", "?"), look.dim()),
    };
    let stage = event.stage.as_ref().map(|stage| format!(" at {}", plain(stage))).unwrap_or_default();
    let queue =
        event.accept_queue.map(|queue| format!("  {}/{}", queue.length, queue.limit)).unwrap_or_default();
    let what = format!("{sign} {}{stage}{queue}", plain(&event.cause).replace('_', " "));
    let peer = event.peer.map(|peer| format::address(peer.addr.to_canonical(), peer.port));
    Row::new([
        Cell::from(Line::styled(format::clock(&event.time), look.dim())),
        Cell::from(format::place(event.addr, event.port)),
        Cell::from(Line::styled(what, style)),
        Cell::from(peer.unwrap_or_default()),
    ])
}
