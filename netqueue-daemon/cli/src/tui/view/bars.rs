//! Queue bars and sparklines out of characters.

use super::style::Look;

const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_COLUMNS: [char; 4] = ['.', ':', '+', '#'];

/// Draws a bar of `width` characters, filled to `share`; any share above zero shows.
pub(super) fn bar(share: f64, width: usize, look: Look) -> String {
    let share = share.clamp(0.0, 1.0);
    if look.ascii {
        let full = (share * width as f64).ceil() as usize;
        return format!("[{:-<1$}]", "#".repeat(full.min(width.saturating_sub(2))), width.saturating_sub(2));
    }
    let eighths = ((share * width as f64 * 8.0).ceil() as usize).min(width * 8);
    let mut text = "█".repeat(eighths / 8);
    if let Some(part) = EIGHTHS.get(eighths % 8).filter(|_| !eighths.is_multiple_of(8)) {
        text.push(*part);
    }
    let used = eighths.div_ceil(8);
    text.push_str(&"·".repeat(width - used));
    text
}

/// Draws a sparkline of `width` characters, newest at the right.
/// Zero is a dot (`_` in ASCII) instead of the lowest bar, so that activity stands out.
pub(super) fn sparkline(values: &[u64], width: usize, look: Look) -> String {
    let shown = values.iter().skip(values.len().saturating_sub(width));
    let most = shown.clone().copied().max().unwrap_or(0).max(1);
    let column = |value: u64| {
        if value == 0 {
            return if look.ascii { '_' } else { '·' };
        }
        let columns: &[char] = if look.ascii { &ASCII_COLUMNS } else { &COLUMNS };
        let index = (value as usize * columns.len()).div_ceil(most as usize).saturating_sub(1);
        columns.get(index).copied().unwrap_or('#')
    };
    let text: String = shown.map(|value| column(*value)).collect();
    format!("{text:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Look = Look { ascii: false, colour: false };
    const ASCII: Look = Look { ascii: true, colour: false };

    #[test]
    fn a_bar_is_as_wide_as_asked_and_one_of_many_still_shows() {
        assert_eq!(bar(0.0, 8, FULL), "········");
        assert_eq!(bar(0.001, 8, FULL), "▏·······");
        assert_eq!(bar(0.5, 8, FULL), "████····");
        assert_eq!(bar(2.0, 8, FULL), "████████");
        assert_eq!(bar(0.5, 8, ASCII), "[####--]");
        assert_eq!(bar(1.0, 8, ASCII), "[######]");
    }

    #[test]
    fn a_sparkline_ends_with_the_newest() {
        assert_eq!(sparkline(&[0, 1, 8], 5, FULL), "  ·▁█");
        assert_eq!(sparkline(&[9, 0, 4, 8], 3, FULL), "·▄█");
        assert_eq!(sparkline(&[0, 1, 8], 5, ASCII), "  _.#");
        assert_eq!(sparkline(&[], 2, FULL), "  ");
    }
}
