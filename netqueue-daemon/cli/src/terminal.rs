//! The terminal: its width, its colours, and protection from control characters.

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

/// The output stream of a report.
pub type Out = AutoStream<io::Stdout>;

/// Opens standard output, stripped of colours unless they are wanted.
#[must_use]
pub fn out(colour: Colour) -> Out {
    let choice = match colour {
        Colour::Auto => AutoStream::choice(&io::stdout()),
        Colour::Always => anstream::ColorChoice::Always,
        Colour::Never => anstream::ColorChoice::Never,
    };
    AutoStream::new(io::stdout(), choice)
}

/// Width of the terminal, from `COLUMNS` or the device; `None` if the output is no terminal.
/// A file or a pipe gets lines of any length, because no person reads them off a screen.
#[must_use]
pub fn width() -> Option<usize> {
    /// Lower bound of the width: narrower tables would be unreadable.
    const NARROWEST: usize = 40;
    if !io::stdout().is_terminal() {
        return None;
    }
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let real = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Some(asked.or_else(real).unwrap_or(80).max(NARROWEST))
}

/// Replaces control characters in text from elsewhere (process names, addresses, reasons).
/// A process could otherwise send escape sequences to the terminal by its name.
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
