//! Row of one event, in a table and as a stream's line.

use netqueue_api::{Event, EventKind};

use super::{format, style, table::Cell, terminal::plain};

/// The cells of one event's row.
pub(super) fn cells(event: &Event) -> [Cell; 8] {
    let colour = if event.kind == EventKind::Drop { style::BAD } else { style::WARN };
    let stage = event.stage.as_ref().map(|stage| format!("/{}", plain(stage))).unwrap_or_default();
    let cause = format!("{}{stage}", plain(&event.cause));
    let peer = event.peer.map(|peer| format::address(peer.addr.to_canonical(), peer.port));
    [
        Cell::styled(format::clock(&event.time), style::DIM),
        format::place(event.addr, event.port).into(),
        plain(event.kind.as_str()).into(),
        Cell::styled(cause, colour),
        peer.unwrap_or_else(|| "-".to_owned()).into(),
        format::queue(event.accept_queue).into(),
        format::queue(event.syn_queue).into(),
        plain(&event.netns).into(),
    ]
}
