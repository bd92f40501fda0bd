//! Effects of the keys.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Model, Page, Show, Sort};

/// The action that follows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Draw again.
    Draw,
    /// Quit, as the user wishes.
    Quit,
}

/// The keys and their effects, for the help page.
pub(super) const HELP: [(&str, &str); 14] = [
    ("↑ ↓  j k", "choose a listener"),
    ("PgUp PgDn  Home End", "faster"),
    ("Enter", "explain the chosen one"),
    ("Esc", "back, and no search"),
    ("d", "sort by drops"),
    ("f", "sort by fullness of the accept queue"),
    ("r", "sort by resets"),
    ("n", "sort by address and port"),
    ("s", "next order"),
    ("a", "everything, listeners only, those with drops"),
    ("/", "search: address, port, process, namespace"),
    ("p  Space", "hold still, go on"),
    ("?  h", "this help"),
    ("q  Ctrl-C", "quit"),
];

/// Rows that PgUp and PgDn skip.
const PAGE: isize = 10;

/// Applies `key` to the model.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Then {
    if key.kind == KeyEventKind::Release {
        return Then::Draw;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Then::Quit } else { Then::Draw };
    }
    if model.typing {
        type_into(model, key.code);
        return Then::Draw;
    }
    if model.page != Page::Table {
        return turn(model, key.code);
    }
    match key.code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Char('?' | 'h') => model.page = Page::Help,
        KeyCode::Char('/') => model.typing = true,
        KeyCode::Char('p' | ' ') => model.paused = !model.paused,
        KeyCode::Char('a') => model.show = next_show(model.show),
        KeyCode::Char('s') => model.sort = next_sort(model.sort),
        KeyCode::Char('d') => model.sort = Sort::Drops,
        KeyCode::Char('f') => model.sort = Sort::Fullness,
        KeyCode::Char('r') => model.sort = Sort::Resets,
        KeyCode::Char('n') => model.sort = Sort::Name,
        KeyCode::Enter => (model.page, model.scroll) = (Page::Detail, 0),
        KeyCode::Esc => model.filter.clear(),
        KeyCode::Up | KeyCode::Char('k') => model.step(-1),
        KeyCode::Down | KeyCode::Char('j') => model.step(1),
        KeyCode::PageUp => model.step(-PAGE),
        KeyCode::PageDown => model.step(PAGE),
        KeyCode::Home => model.step(isize::MIN),
        KeyCode::End => model.step(isize::MAX),
        _ => {}
    }
    Then::Draw
}

/// Handles a key on a page that covers the table.
fn turn(model: &mut Model, key: KeyCode) -> Then {
    match key {
        KeyCode::Char('q') if model.page == Page::Detail => return Then::Quit,
        KeyCode::Up | KeyCode::Char('k') => model.scroll = model.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => model.scroll = model.scroll.saturating_add(1),
        KeyCode::Char('p' | ' ') if model.page == Page::Detail => model.paused = !model.paused,
        KeyCode::Char('?' | 'h') if model.page == Page::Detail => model.page = Page::Help,
        _ => model.page = Page::Table,
    }
    Then::Draw
}

fn type_into(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Enter => model.typing = false,
        KeyCode::Esc => {
            model.typing = false;
            model.filter.clear();
        }
        KeyCode::Backspace => {
            model.filter.pop();
        }
        KeyCode::Char(character) if !character.is_control() && model.filter.len() < 60 => {
            model.filter.push(character);
        }
        _ => {}
    }
}

const fn next_sort(sort: Sort) -> Sort {
    match sort {
        Sort::Drops => Sort::Fullness,
        Sort::Fullness => Sort::Resets,
        Sort::Resets => Sort::Name,
        Sort::Name => Sort::Drops,
    }
}

const fn next_show(show: Show) -> Show {
    match show {
        Show::Everything => Show::Listeners,
        Show::Listeners => Show::Trouble,
        Show::Trouble => Show::Everything,
    }
}
