//! Limits what netqueue may cost: the figures in `xtask/baseline.json`, one row per line.
//!
//! The check fails where later figures rise above them.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::measure;
use super::plan::{Mode, Setting, Work};
use super::rows::Row;
use crate::vm::Payload;
use crate::vm::kernels;
use crate::workspace::Workspace;

/// Path below the workspace's top.
pub(crate) const FILE: &str = "xtask/baseline.json";

/// Kernel measured, with the default way to attach: what raises a figure there raises it everywhere.
const KERNEL: &str = "6.12";
const SETTINGS: [Setting; 4] =
    [Setting::Nothing, Setting::Empty(Mode::Auto), Setting::Daemon(Mode::Auto, &[]), Setting::Nothing];
const WORKS: [Work; 2] = [Work::Cycle, Work::DroppedSyn];

/// Percent by which the added instructions may rise over the baseline.
const RISE: f64 = 3.0;
/// Percent of the base by which two runs of the same program may differ.
///
/// Connections depend on where sockets lie and how they hash. The figure counted inside the programs does
/// not, and has the narrow limit [`CHANCE_OF_OWN`].
const fn chance(of: Work) -> f64 {
    match of {
        Work::Cycle => 0.75,
        Work::DroppedSyn | Work::DataPacket => 0.25,
    }
}
/// Instructions by which the figure counted inside the programs may differ.
const CHANCE_OF_OWN: f64 = 2.0;

/// Measures the figures of the baseline.
pub(crate) fn rows(workspace: &Workspace, payload: &Payload) -> Result<Vec<Row>> {
    let rows = measure(workspace, kernels::row(KERNEL)?, payload, &SETTINGS, &WORKS)?;
    Ok(rows.into_iter().filter(|row| row.features == Setting::Daemon(Mode::Auto, &[]).features()).collect())
}

/// Makes these rows the baseline.
pub(crate) fn write(workspace: &Workspace, rows: &[Row]) -> Result<()> {
    let lines: String = rows.iter().map(|row| row.json().to_string() + "\n").collect();
    fs::write(workspace.root().join(FILE), lines).with_context(|| format!("{FILE} cannot be written"))
}

/// Compares rows with the baseline. Returns a line for each that is too high, and one for every figure.
pub(crate) fn compare(workspace: &Workspace, rows: &[Row]) -> Result<(Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(workspace.root().join(FILE));
    let text =
        text.with_context(|| format!("{FILE} cannot be read: cargo xtask bench --write-baseline makes it"))?;
    let known = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    judge(&known.with_context(|| format!("{FILE} has a line that is no JSON"))?, rows)
}

fn judge(known: &[Value], rows: &[Row]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut wrong, mut stand) = (Vec::new(), Vec::new());
    for row in rows {
        let same = |line: &&Value| {
            let now = row.json();
            ["kernel", "mode", "features", "of"].iter().all(|column| line[column] == now[column])
        };
        let name = format!("{} on {}, {}", row.of.as_str(), row.kernel, row.mode);
        let known = known.iter().find(same).with_context(|| format!("{FILE} has no row for {name}"))?;
        let mut hold = |column: &str, what: &str, now: f64, chance: f64| -> Result<()> {
            let before =
                known[column].as_f64().with_context(|| format!("{FILE}: no `{column}` in {known}"))?;
            let limit = before * (1.0 + RISE / 100.0) + chance;
            let said = format!("{name}: {what} {now:.0} instructions, the baseline is {before:.0}");
            if now > limit {
                wrong.push(format!(
                    "{said}, and {limit:.0} is the limit; where it must be so: cargo xtask bench --write-baseline"
                ));
            }
            stand.push(said);
            Ok(())
        };
        hold("added", "netqueue adds", row.added, row.base * chance(row.of) / 100.0)?;
        if let Some(own) = row.own {
            hold("own", "in its programs netqueue executes", own, CHANCE_OF_OWN)?;
        }
    }
    Ok((wrong, stand))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(added: f64) -> Row {
        let own = Some(300.0);
        Row {
            kernel: "6.12",
            mode: "auto",
            features: "all".into(),
            of: Work::Cycle,
            base: 80_000.0,
            added,
            own,
        }
    }

    #[test]
    fn six_hundred_instructions_more_are_chance_and_seven_hundred_are_not() {
        let known = [row(1000.0).json()];
        let wrong = |added| judge(&known, &[row(added)]).unwrap().0;
        assert!(wrong(1600.0).is_empty());
        assert!(wrong(1700.0)[0].contains("adds 1700 instructions, the baseline is 1000"));
        assert!(wrong(500.0).is_empty());
    }

    #[test]
    fn of_what_is_counted_in_the_programs_nothing_is_left_to_chance() {
        let known = [row(1000.0).json()];
        let wrong = |own| judge(&known, &[Row { own: Some(own), ..row(1000.0) }]).unwrap().0;
        assert!(wrong(311.0).is_empty());
        assert!(wrong(312.0)[0].contains("executes 312 instructions, the baseline is 300"));
        let unknown = [Row { own: None, ..row(1000.0) }.json()];
        assert!(judge(&unknown, &[row(1000.0)]).is_err());
    }

    #[test]
    fn a_figure_without_a_baseline_is_an_error() {
        assert!(judge(&[], &[row(1.0)]).is_err());
    }
}
