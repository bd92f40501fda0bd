//! The table for people: one line for each setting, one column for each kind of work.

use std::fmt::Write as _;

use super::plan::Work;
use super::rows::Row;

/// Formats the rows of one kernel.
pub(crate) fn of(rows: &[Row]) -> String {
    let kernel = rows.first().map_or("", |row| row.kernel);
    let mut text = format!("{kernel}: guest instructions\n{:<8}{:<31}", "mode", "features");
    let works: Vec<Work> =
        Work::ALL.into_iter().filter(|work| rows.iter().any(|row| row.of == *work)).collect();
    for work in &works {
        let _infallible = write!(text, "{:>19}", work.as_str());
    }
    if rows.iter().any(|row| row.own.is_some()) {
        text.push_str("  of a cycle in its programs");
    }
    let firsts = rows.iter().filter(|row| works.first() == Some(&row.of));
    for first in firsts {
        let _infallible = write!(text, "\n{:<8}{:<31}", first.mode, first.features);
        for work in &works {
            let same =
                |row: &&Row| row.of == *work && row.mode == first.mode && row.features == first.features;
            let shown = rows.iter().find(same).map_or_else(String::new, figure);
            let _infallible = write!(text, "{shown:>19}");
        }
        if let Some(own) = first.own {
            let _infallible = write!(text, "{own:>28.0}");
        }
    }
    text
}

fn figure(row: &Row) -> String {
    if row.mode == "none" {
        format!("{:.0}", row.base)
    } else {
        format!("{:+.0} ({:.2} %)", row.added, row.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_mode_its_features_and_what_they_add() {
        let row = |mode, features: &str, added| Row {
            kernel: "6.1",
            mode,
            features: features.to_owned(),
            of: Work::Cycle,
            base: 80_000.0,
            added,
            own: (mode == "kprobe").then_some(470.2),
        };
        let text = of(&[row("none", "no probe", 0.0), row("kprobe", "all", 2000.0)]);
        let lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines[1..],
            [
                "mode features cycle of a cycle in its programs",
                "none no probe 80000",
                "kprobe all +2000 (2.50 %) 470"
            ]
        );
    }
}
