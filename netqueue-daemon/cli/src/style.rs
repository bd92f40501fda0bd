//! The colours of the command line: few, and every message is clear without them.

use anstyle::{AnsiColor, Style};

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// News that deserves attention.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Headlines.
pub const HEAD: Style = Style::new().bold();
/// Side remarks.
pub const DIM: Style = Style::new().dimmed();
