//! The colours of the command line: few, and never the only carrier of what they say.

use anstyle::{AnsiColor, Style};

/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What deserves a look.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headlines.
pub const HEAD: Style = Style::new().bold();
/// Side remarks.
pub const DIM: Style = Style::new().dimmed();
