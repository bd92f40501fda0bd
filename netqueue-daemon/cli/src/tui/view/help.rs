//! The help page: keys, and how to read the screen.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{detail::block, style::Look};
use crate::tui::keys;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, look: Look) {
    let keys = keys::HELP.iter().map(|(key, what)| {
        let key = if look.ascii { key.replace(['↑', '↓'], "^") } else { (*key).to_owned() };
        Line::from(vec![Span::styled(format!("  {key:<22}"), look.head()), Span::raw(*what)])
    });
    let mut lines: Vec<_> = keys.collect();
    lines.push(Line::default());
    let signs = format!(
        "{} dropping now, {} dropped earlier. The bar is the accept queue; full is one more than its limit. Dropped \
         are packets: a client that tries again counts again. The last line says whether the counts equal the kernel's.",
        look.sign("●", "!"),
        look.sign("◐", "-"),
    );
    lines.push(Line::raw(signs));
    let text = Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(block(" keys (any key goes back) ".to_owned(), look));
    frame.render_widget(text, area);
}
