//! Colours and characters: the terminal's own sixteen colours, and never colour alone.

use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Look {
    /// No character beyond ASCII.
    pub(in crate::tui) ascii: bool,
    /// Colours are wanted.
    pub(in crate::tui) colour: bool,
}

/// Whether the locale says UTF-8.
pub(in crate::tui) fn speaks_utf8() -> bool {
    let first = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    first.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// Whether NO_COLOR is absent, as no-color.org has it.
pub(in crate::tui) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Look {
    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// What is wrong.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What deserves a look.
    pub(super) fn warn(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// What is well.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Resets.
    pub(super) fn reset(self) -> Style {
        self.coloured(Color::Magenta)
    }

    /// Queues that have room.
    pub(super) fn calm(self) -> Style {
        self.coloured(Color::Blue)
    }

    /// What a verdict does to clients.
    pub(super) fn harm(self, harm: &str) -> Style {
        match harm {
            "never_served" | "reset" => self.bad(),
            "absorbed" => self.good(),
            _ => self.warn(),
        }
    }

    /// Headings.
    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Side remarks.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The chosen line.
    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// `unicode`, or what stands for it.
    pub(super) const fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }
}
