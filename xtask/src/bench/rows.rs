//! Turns a guest's output into rows: each setting against the base of the same boot.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::plan::{ROUNDS, Setting, Work};

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) kernel: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) features: String,
    pub(crate) of: Work,
    /// Instructions without any probe.
    pub(crate) base: f64,
    /// Instructions on top of the base.
    pub(crate) added: f64,
    /// Instructions inside netqueue's programs, beyond those of calling them; `None` where not counted.
    pub(crate) own: Option<f64>,
}

impl Row {
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.added / self.base
    }

    /// Returns the row as a JSON object for one line.
    pub(crate) fn json(&self) -> Value {
        let Self { kernel, mode, features, of, base, added, own } = self;
        json!({
            "kernel": kernel,
            "mode": mode,
            "features": features,
            "of": of.as_str(),
            "base": base.round() as i64,
            "added": added.round() as i64,
            "percent": (self.percent() * 100.0).round() / 100.0,
            "own": own.map(|own| own.round() as i64),
        })
    }
}

/// Rows of all settings, the base first.
pub(crate) fn read(
    kernel: &'static str,
    settings: &[Setting],
    works: &[Work],
    output: &[String],
) -> Result<Vec<Row>> {
    let figures = figures(output)?;
    ensure!(
        figures.len() == settings.len() * works.len() * ROUNDS,
        "the guest printed {} figures, {} settings of {} kinds of work were to be measured {ROUNDS} times",
        figures.len(),
        settings.len(),
        works.len()
    );
    let own = own(settings, &counted(output))?;
    let runs: Vec<_> = settings.iter().zip(figures.chunks(works.len() * ROUNDS)).collect();
    let mut rows = Vec::new();
    for (index, of) in works.iter().copied().enumerate() {
        let figure = |run: &[(Work, f64)]| -> Result<f64> {
            let rounds = run.chunks(ROUNDS).nth(index).context("a run lacks figures")?;
            ensure!(rounds.iter().all(|(work, _)| *work == of), "the guest printed figures in another order");
            // Where sockets lie and how they hash is luck, good or bad: the median counts.
            let mut rounds: Vec<_> = rounds.iter().map(|(_, figure)| *figure).collect();
            rounds.sort_by(f64::total_cmp);
            rounds.get(ROUNDS / 2).copied().context("a run lacks figures")
        };
        let bases = runs.iter().filter(|(setting, _)| **setting == Setting::Nothing);
        let bases = bases.map(|(_, run)| figure(run)).collect::<Result<Vec<_>>>()?;
        ensure!(!bases.is_empty(), "nothing was measured without probes");
        let base = bases.iter().sum::<f64>() / bases.len() as f64;
        let row = |setting: Setting, added| Row {
            kernel,
            mode: setting.mode(),
            features: setting.features(),
            of,
            base,
            added,
            own: own
                .iter()
                .find(|(of_which, _)| of == Work::Cycle && *of_which == setting)
                .map(|(_, own)| *own),
        };
        rows.push(row(Setting::Nothing, 0.0));
        for (setting, run) in runs.iter().filter(|(setting, _)| **setting != Setting::Nothing) {
            rows.push(row(**setting, figure(run)? - base));
        }
    }
    Ok(rows)
}

/// Parses the lines that are JSON; the others are the lab's log.
fn objects(output: &[String]) -> impl Iterator<Item = Value> {
    output.iter().filter_map(|line| serde_json::from_str(line).ok())
}

/// Sums, for each run that counted programs, the instructions of all of them per connection.
fn counted(output: &[String]) -> Vec<f64> {
    let mut sums = Vec::new();
    let mut done = 0.0;
    for line in objects(output) {
        if line["by_program"] == true {
            sums.push(0.0);
            done = line["done"].as_f64().unwrap_or(0.0);
        } else if let (Some(sum), Some(each), Some(runs)) =
            (sums.last_mut(), line["nanos"].as_f64(), line["runs"].as_f64())
        {
            // A nanosecond of the guest's clock is one instruction. A program may be attached to several
            // functions.
            *sum += each * runs / done;
        }
    }
    sums
}

/// Subtracts from the instructions of netqueue's programs those of no-op ones attached the same way.
fn own(settings: &[Setting], counted: &[f64]) -> Result<Vec<(Setting, f64)>> {
    let runs: Vec<_> = settings.iter().copied().filter(|setting| setting.is_counted()).collect();
    ensure!(
        runs.len() == counted.len(),
        "programs were counted in {} runs, not in {}",
        counted.len(),
        runs.len()
    );
    let runs: Vec<_> = runs.into_iter().zip(counted.iter().copied()).collect();
    let of = |(setting, sum): &(Setting, f64)| {
        let empty = runs.iter().find(|(other, _)| {
            matches!((*other, *setting),
            (Setting::Empty(empty), Setting::Daemon(mode, _)) if empty == mode)
        });
        empty.map(|(_, empty)| (*setting, sum - empty))
    };
    Ok(runs.iter().filter_map(of).collect())
}

/// Parses the lines that are figures of works.
fn figures(output: &[String]) -> Result<Vec<(Work, f64)>> {
    let figures = objects(output).filter(|line| line["by_program"] == false);
    figures
        .map(|line| {
            let work = line["of"].as_str().and_then(Work::named);
            let work = work.with_context(|| format!("no known work: {line}"))?;
            let figure = work.figure();
            Ok((work, line[figure].as_f64().with_context(|| format!("no {figure}: {line}"))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Mode;
    use super::*;

    fn lines(medians: &[f64]) -> Vec<String> {
        let round = |median: &f64| json!({"of": "cycle", "median": median, "by_program": false}).to_string();
        let figures = medians.iter().flat_map(|median| {
            [5.0, 0.0, 1200.0, -9.0, 90.0, -80.0, -3.0, 7.0, -1.0].map(|luck| round(&(median + luck)))
        });
        std::iter::once("some words".to_owned()).chain(figures).collect()
    }

    #[test]
    fn a_setting_is_held_against_the_middle_of_both_bases() {
        let settings = [Setting::Nothing, Setting::Script("exact.bt"), Setting::Nothing];
        let rows = read("6.1", &settings, &[Work::Cycle], &lines(&[990.0, 1100.0, 1010.0])).unwrap();
        assert_eq!(rows.iter().map(|row| row.added).collect::<Vec<_>>(), [0.0, 100.0]);
        assert_eq!(rows[1].json()["percent"], 10.0);
        assert_eq!(rows[1].own, None);
    }

    #[test]
    fn what_programs_do_is_told_beyond_those_that_do_nothing() {
        let settings = [Setting::Nothing, Setting::Empty(Mode::Auto), Setting::Daemon(Mode::Auto, &[])];
        let mut output = lines(&[1000.0, 1050.0, 1130.0]);
        let counted = |nanos: [f64; 2]| {
            let program =
                |nanos: f64, runs| json!({"of": "cycle", "program": 7, "nanos": nanos, "runs": runs});
            let cost = json!({"of": "cycle", "median": 2000.0, "done": 1500, "by_program": true});
            [cost, program(nanos[0], 3000), program(nanos[1], 1500)].map(|line| line.to_string())
        };
        output.splice(19..19, counted([30.0, 60.5]));
        output.extend(counted([50.5, 99.0]));
        let rows = read("6.1", &settings, &[Work::Cycle], &output).unwrap();
        assert_eq!(rows.iter().map(|row| row.own).collect::<Vec<_>>(), [None, None, Some(79.5)]);
        assert!(read("6.1", &settings, &[Work::Cycle], &lines(&[1000.0, 1050.0, 1130.0])).is_err());
    }

    #[test]
    fn a_figure_too_few_is_an_error() {
        let settings = [Setting::Nothing, Setting::Empty(Mode::Auto)];
        let error = read("6.1", &settings, &[Work::Cycle], &lines(&[990.0])).unwrap_err().to_string();
        assert!(error.contains("9 figures"), "{error}");
    }
}
