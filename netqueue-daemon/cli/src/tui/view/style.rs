//! Colours and characters: the terminal's own sixteen colours, and never colour alone.

use netqueue_api::Impact;
use ratatui::style::{Color, Modifier, Style};

/// The terminal's capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Look {
    /// Draws ASCII characters only.
    pub(in crate::tui) ascii: bool,
    /// Uses colours.
    pub(in crate::tui) colour: bool,
}

/// Returns whether the locale's encoding is UTF-8.
pub(in crate::tui) fn speaks_utf8() -> bool {
    let first = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    first.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Returns whether colours are wanted: `NO_COLOR` is absent or empty, as no-color.org defines it.
pub(in crate::tui) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Look {
    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// The style of bad news.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The style of news that deserves attention.
    pub(super) fn warn(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// The style of good news.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// The style of resets.
    pub(super) fn reset(self) -> Style {
        self.coloured(Color::Magenta)
    }

    /// The style of queues that have room.
    pub(super) fn calm(self) -> Style {
        self.coloured(Color::Blue)
    }

    /// The style of a verdict's impact on clients.
    pub(super) fn impact(self, impact: &Impact) -> Style {
        match impact {
            Impact::NeverServed | Impact::Reset => self.bad(),
            Impact::Absorbed => self.good(),
            Impact::Delayed | Impact::Unseen | Impact::Unknown(_) => self.warn(),
        }
    }

    /// The style of headings.
    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The style of side remarks.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The style of the chosen line.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Returns `unicode`, or `ascii` if the terminal shows nothing else.
    pub(super) const fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }
}
