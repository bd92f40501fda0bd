//! The table of listeners; columns come and go with the width.

use netqueue_api::{Listener, Part, Queue};
use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Cell, Paragraph, Row, Table, TableState, Wrap},
};

use super::{bars, header::rate, style::Look};
use crate::{
    format,
    terminal::plain,
    tui::model::{Link, Model, Show, Sort},
};

/// A column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Mark,
    Name,
    Process,
    Accept,
    AcceptNumbers,
    SynNumbers,
    Drops,
    DropRate,
    Spark,
    Resets,
    ResetRate,
    Why,
}

/// The room that the screen's width leaves for the variable parts.
#[derive(Clone, Copy)]
struct Room {
    bar: u16,
    spark: u16,
    /// True if namespaces are shown beside addresses.
    netns: bool,
}

impl Room {
    const fn of(screen: u16) -> Self {
        let wide = screen >= 140;
        Self { bar: if wide { 16 } else { 8 }, spark: if wide { 24 } else { 10 }, netns: screen >= 100 }
    }
}

/// The columns in order, each with the minimum screen width at which it is shown.
const COLUMNS: [(Column, u16); 12] = [
    (Column::Mark, 0),
    (Column::Name, 0),
    (Column::Process, 100),
    (Column::Accept, 60),
    (Column::AcceptNumbers, 0),
    (Column::SynNumbers, 110),
    (Column::Drops, 0),
    (Column::DropRate, 0),
    (Column::Spark, 72),
    (Column::Resets, 50),
    (Column::ResetRate, 120),
    (Column::Why, 140),
];

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    model: &Model,
    rows: &[&Listener],
    look: Look,
    now: Instant,
) {
    if rows.is_empty() {
        let text = Paragraph::new(nothing(model, now)).wrap(Wrap { trim: true }).style(look.dim());
        return frame.render_widget(text, area);
    }
    let columns: Vec<_> =
        COLUMNS.into_iter().filter(|(_, from)| area.width >= *from).map(|(column, _)| column).collect();
    let room = Room::of(area.width);
    let widths = columns.iter().map(|column| width(*column, room));
    let head = Row::new(columns.iter().map(|column| head(*column, model, look)));
    let body = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| cell(*column, row, model, look, room));
        Row::new(cells.collect::<Vec<_>>())
    });
    let table = Table::new(body.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(head)
        .column_spacing(1)
        .row_highlight_style(look.chosen());
    let mut state = TableState::new().with_selected(model.chosen(rows));
    frame.render_stateful_widget(table, area, &mut state);
}

fn nothing(model: &Model, now: Instant) -> &'static str {
    match (&model.look, model.link(now)) {
        (None, Link::Failing(..)) => "No answer yet. netqueue keeps asking; q quits.",
        (None, _) => "",
        (Some(look), _) if look.listeners.is_empty() => {
            "Nothing to show yet: no listener has dropped a packet or sent a reset since netqueue attached. To see \
             something: netqueue lab demo."
        }
        (Some(_), _) => "Nothing fits this search: Esc clears it, a shows everything.",
    }
}

const fn width(column: Column, room: Room) -> Constraint {
    match column {
        Column::Mark => Constraint::Length(1),
        Column::Name => Constraint::Min(if room.netns { 22 } else { 15 }),
        Column::Process => Constraint::Length(15),
        Column::Accept => Constraint::Length(room.bar),
        Column::AcceptNumbers | Column::SynNumbers => Constraint::Length(9),
        Column::Drops | Column::Resets => Constraint::Length(8),
        Column::DropRate | Column::ResetRate => Constraint::Length(6),
        Column::Spark => Constraint::Length(room.spark),
        Column::Why => Constraint::Min(28),
    }
}

fn head(column: Column, model: &Model, look: Look) -> Cell<'static> {
    let (text, sort, right) = match column {
        Column::Mark => ("", None, false),
        Column::Name => ("LISTENER", Some(Sort::Name), false),
        Column::Process => ("PROCESS", None, false),
        Column::Accept => ("ACCEPT Q", Some(Sort::Fullness), false),
        Column::AcceptNumbers => ("LEN/LIMIT", None, true),
        Column::SynNumbers => ("SYN Q", None, true),
        Column::Drops => ("DROPPED", Some(Sort::Drops), true),
        Column::DropRate => ("/s", None, true),
        Column::Spark => ("LATELY", None, false),
        Column::Resets => ("RESETS", Some(Sort::Resets), true),
        Column::ResetRate => ("/s", None, true),
        Column::Why => ("MOSTLY BECAUSE", None, false),
    };
    let style = if sort == Some(model.sort) { look.head().underlined() } else { look.dim() };
    aligned(Line::styled(text, style), right)
}

fn aligned(line: Line<'static>, right: bool) -> Cell<'static> {
    Cell::from(Text::from(line.alignment(if right { Alignment::Right } else { Alignment::Left })))
}

fn cell(column: Column, row: &Listener, model: &Model, look: Look, room: Room) -> Cell<'static> {
    let dropping = model.history.drop_rate(&row.id);
    let text = |text: String| aligned(Line::raw(text), false);
    let number = |text: String, style: Style| aligned(Line::styled(text, style), true);
    let drop_style = match (dropping > 0.0, row.drops.total > 0) {
        (true, _) => look.bad(),
        (false, true) => look.warn(),
        (false, false) => look.dim(),
    };
    match column {
        Column::Mark => {
            let sign = match (dropping > 0.0, row.drops.total > 0) {
                (true, _) => look.sign("●", "!"),
                (false, true) => look.sign("◐", "-"),
                (false, false) => " ",
            };
            aligned(Line::styled(sign, drop_style), false)
        }
        Column::Name => name(row, room.netns, look),
        Column::Process => text(plain(&row.process)),
        Column::Accept => row
            .accept_queue
            .map_or_else(|| Cell::from(""), |queue| accept_bar(queue, usize::from(room.bar), look)),
        Column::AcceptNumbers => {
            let full = row.accept_queue.is_some_and(|queue| queue.is_full());
            number(format::queue(row.accept_queue), if full { look.bad() } else { Style::new() })
        }
        Column::SynNumbers => number(format::queue(row.syn_queue), Style::new()),
        Column::Drops => number(or_dash(row.drops.total), drop_style),
        Column::DropRate => number(if dropping > 0.0 { rate(dropping) } else { String::new() }, look.bad()),
        Column::Spark => {
            let values = model.history.drops(&row.id, usize::from(room.spark));
            let text = bars::sparkline(&values, usize::from(room.spark), look);
            aligned(Line::styled(text, if dropping > 0.0 { look.bad() } else { look.dim() }), false)
        }
        Column::Resets => {
            number(or_dash(row.resets.total), if row.resets.total > 0 { look.reset() } else { look.dim() })
        }
        Column::ResetRate => {
            let now = model.history.reset_rate(&row.id);
            number(if now > 0.0 { rate(now) } else { String::new() }, look.reset())
        }
        Column::Why => text(why(row)),
    }
}

/// Address and port, and, where there is room, the namespace if it is not the host's.
fn name(row: &Listener, with_netns: bool, look: Look) -> Cell<'static> {
    let mut spans = vec![Span::raw(format::place(row.addr, row.port))];
    if with_netns && row.netns != "host" {
        spans.push(Span::styled(format!(" @{}", plain(&row.netns)), look.dim()));
    }
    Cell::from(Line::from(spans))
}

fn accept_bar(queue: Queue, width: usize, look: Look) -> Cell<'static> {
    let share = f64::from(queue.length) / (f64::from(queue.limit) + 1.0);
    let style = match share {
        share if share >= 1.0 => look.bad(),
        share if share >= 0.7 => look.warn(),
        _ => look.calm(),
    };
    aligned(Line::styled(bars::bar(share, width, look), style), false)
}

fn or_dash(number: u64) -> String {
    if number == 0 { "-".to_owned() } else { format::count(number) }
}

/// Returns the most frequent cause; a drop's takes precedence over a reset's.
fn why(row: &Listener) -> String {
    match (Part::largest(row.drops.parts()), Part::largest(row.resets.parts())) {
        (Some(part), _) => {
            let stage = part.stage.map(|stage| format!(" at {}", plain(stage))).unwrap_or_default();
            format!("{}{stage}", plain(part.cause).replace('_', " "))
        }
        (None, Some(part)) => format!("reset: {}", plain(part.cause).replace('_', " ")),
        (None, None) => String::new(),
    }
}

/// Text in the status line for the accounts left out; empty if all are shown.
pub(super) const fn shown(show: Show) -> &'static str {
    match show {
        Show::Everything => "",
        Show::Listeners => "  listeners",
        Show::Trouble => "  with drops",
    }
}
