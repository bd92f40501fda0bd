//! The chosen account: its causes below the table, and a description on a page of its own.

use netqueue_api::{Listener, Part, Verdict};
use netqueue_domain::glossary;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Padding, Paragraph, Wrap},
};

use super::{bars, style::Look};
use crate::{
    format,
    narrative::{Paragraph as Told, Tone, narrate},
    terminal::plain,
    tui::model::Model,
};

/// Creates a block with a headline.
pub(super) fn block(title: String, look: Look) -> Block<'static> {
    let block = Block::new().title(Span::styled(title, look.head()));
    if look.ascii { block } else { block.borders(Borders::TOP).border_style(look.dim()) }
}

/// Draws the chosen account's causes with their shares.
pub(super) fn causes(frame: &mut Frame<'_>, area: Rect, chosen: Option<&Listener>, look: Look) {
    let Some(chosen) = chosen else { return };
    let block = block(format!(" {} ", format::listener(chosen)), look);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let mut lines = Vec::new();
    for (kind, parts, total, style) in [
        ("drop", Part::largest_first(chosen.drops.parts()), chosen.drops.total, look.bad()),
        ("reset", Part::largest_first(chosen.resets.parts()), chosen.resets.total, look.reset()),
    ] {
        lines.extend(parts.into_iter().map(|part| line(kind, part, total, style, look)));
    }
    if lines.is_empty() {
        lines.push(Line::styled("  nothing dropped, no reset sent", look.dim()));
    }
    frame.render_widget(Paragraph::new(lines), inside);
}

fn line(kind: &str, part: Part<'_>, total: u64, style: Style, look: Look) -> Line<'static> {
    let share = part.count as f64 / (total.max(1)) as f64;
    let entry = glossary::find(kind, part.cause, part.stage);
    let title = entry.map_or_else(|| plain(part.cause), |entry| entry.title.to_owned());
    Line::from(vec![
        Span::styled(format!("{:>9} ", format::count(part.count)), style),
        Span::styled(bars::bar(share, 8, look), style),
        Span::raw(format!(" {title}")),
        Span::styled(if kind == "reset" { "  reset" } else { "" }, look.dim()),
    ])
}

/// Draws the description of the chosen account beside the events, on screens that are wide enough.
pub(super) fn story(frame: &mut Frame<'_>, area: Rect, chosen: Option<&Listener>, model: &Model, look: Look) {
    let Some(chosen) = chosen else { return };
    let block = block(format!(" {} ", format::listener(chosen)), look);
    let text = Paragraph::new(words(chosen, model, look)).wrap(Wrap { trim: true });
    frame.render_widget(text.block(block.padding(Padding::right(2))), area);
}

/// Draws the description of the chosen account on a page of its own.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, look: Look) {
    let rows = model.rows();
    let Some(chosen) = rows.get(model.chosen(&rows)) else {
        return frame.render_widget(Paragraph::new("it is not there any more: Esc goes back"), area);
    };
    let block =
        block(format!(" {}   id:{}   Esc goes back ", format::listener(chosen), plain(&chosen.id)), look);
    let mut lines = vec![Line::default()];
    lines.extend(words(chosen, model, look));
    let text = Paragraph::new(lines).wrap(Wrap { trim: true }).scroll((model.scroll, 0)).block(block);
    frame.render_widget(text, area);
}

/// Describes the account: first its verdicts with advice, then its counters.
fn words(chosen: &Listener, model: &Model, look: Look) -> Vec<Line<'static>> {
    let verdicts: Vec<_> = model.verdicts_on(&chosen.id).collect();
    let mut lines: Vec<_> = verdicts
        .iter()
        .flat_map(|verdict| {
            let consequence = verdicts.iter().any(|cause| cause.explains(verdict));
            judged(verdict, consequence, look)
        })
        .collect();
    lines.extend(known(chosen, model, look));
    lines
}

/// Describes a verdict; in short if it is a consequence of one above it.
fn judged(verdict: &Verdict, consequence: bool, look: Look) -> Vec<Line<'static>> {
    let prefix = if consequence { "Consequence: " } else { "" };
    let mut lines = vec![
        Line::from(vec![
            Span::styled(
                format!("{prefix}{}", plain(&verdict.title)),
                look.impact(&verdict.impact).add_modifier(Modifier::BOLD),
            ),
            Span::styled(
                format!(
                    "  {}, {} confidence",
                    plain(verdict.impact.as_str()).replace('_', " "),
                    plain(&verdict.confidence)
                ),
                look.dim(),
            ),
        ]),
        Line::raw(plain(&verdict.summary)),
    ];
    if !consequence {
        let because = verdict.because.iter();
        lines.extend(because.map(|because| Line::raw(format!("Because: {}", plain(&because.summary)))));
        let knobs = verdict.knobs.iter();
        lines.extend(knobs.map(|knob| Line::styled(format!("Set {}", format::knob(knob)), look.head())));
    }
    let sign = look.sign("•", "-");
    lines.extend(verdict.advice.iter().map(|advice| Line::raw(format!("{sign} {}", plain(advice)))));
    lines.push(Line::default());
    lines
}

fn known(chosen: &Listener, model: &Model, look: Look) -> Vec<Line<'static>> {
    let status = model.status();
    let watched = status.and_then(|status| format::seconds_between(&status.attached, &status.taken));
    let paragraph = |paragraph: Told| {
        let style = match paragraph.tone {
            Tone::Good => look.good(),
            Tone::Bad => look.bad(),
            Tone::Plain => Style::new(),
        };
        [Line::styled(paragraph.text, style), Line::default()]
    };
    narrate(chosen, watched).into_iter().flat_map(paragraph).collect()
}
