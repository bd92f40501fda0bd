//! The terminal as it is: its width, its colours, and text that cannot take it over.

use std::io::{self, IsTerminal as _};

use anstream::AutoStream;
use clap::ValueEnum;
use unicode_width::UnicodeWidthChar as _;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Where a report goes.
pub type Out = AutoStream<io::Stdout>;

/// Standard output, which loses colours unless they are wanted.
#[must_use]
pub fn out(colour: Colour) -> Out {
    let choice = match colour {
        Colour::Auto => AutoStream::choice(&io::stdout()),
        Colour::Always => anstream::ColorChoice::Always,
        Colour::Never => anstream::ColorChoice::Never,
    };
    AutoStream::new(io::stdout(), choice)
}

/// Columns there are; `None` where lines may be as long as they like, because no person reads them off a screen.
#[must_use]
pub fn width() -> Option<usize> {
    /// What is narrower cannot be helped.
    const NARROWEST: usize = 40;
    if !io::stdout().is_terminal() {
        return None;
    }
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let real = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Some(asked.or_else(real).unwrap_or(80).max(NARROWEST))
}

/// Text from elsewhere (process names, addresses, reasons) without anything a terminal would obey.
#[must_use]
pub fn plain(text: &str) -> String {
    let obeyed = |character: char| character.is_control() || character.width().is_none();
    text.chars().map(|character| if obeyed(character) { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_name_itself_into_the_terminal() {
        assert_eq!(plain("\u{1b}[2Jnginx\r\n\u{9b}m"), "\u{fffd}[2Jnginx\u{fffd}\u{fffd}\u{fffd}m");
        assert_eq!(plain("größe 漢"), "größe 漢");
    }
}
