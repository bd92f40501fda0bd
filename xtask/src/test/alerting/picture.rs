//! Draws what every panel would show: small multiples in SVG, from the same queries.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::services::Services;
use crate::dashboards::Board;

const COLUMNS: usize = 4;
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 120.0;
/// Height of the title above the curves.
const HEAD: f64 = 22.0;
/// Space between two panels.
const GAP: f64 = 12.0;
/// Colours that remain distinct to readers who cannot distinguish red from green.
const COLOURS: [&str; 6] = ["#3b6fb6", "#c8553d", "#2a9d8f", "#b08900", "#7b4fa3", "#5c6770"];

/// Draws all panels of all boards, over the last `seconds`.
pub(super) fn draw(services: &Services, boards: &[Board], seconds: u32) -> Result<String> {
    let mut cells = String::new();
    let mut number = 0;
    for board in boards {
        for panel in board.panels() {
            let (column, row) = ((number % COLUMNS) as f64, (number / COLUMNS) as f64);
            let mut curves = Vec::new();
            for target in &panel.targets {
                let expression = super::panels::filled_in(&target.expr);
                curves.extend(services.query_range(&expression, seconds)?.iter().map(points));
            }
            let (x, y) = (GAP + column * (WIDTH + GAP), GAP + row * (HEIGHT + HEAD + GAP));
            cell(&mut cells, (x, y), &format!("{}: {}", board.title(), panel.title), &curves)?;
            number += 1;
        }
    }
    let rows = number.div_ceil(COLUMNS) as f64;
    let (width, height) = (GAP + COLUMNS as f64 * (WIDTH + GAP), GAP + rows * (HEIGHT + HEAD + GAP));
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{cells}</svg>\n"
    ))
}

/// Draws one panel: its title, the highest value, its curves.
fn cell(out: &mut String, (x, y): (f64, f64), title: &str, curves: &[Vec<(f64, f64)>]) -> Result<()> {
    let all = || curves.iter().flatten();
    let highest = all().map(|(_, value)| *value).fold(0.0, f64::max);
    let lowest = all().map(|(_, value)| *value).fold(0.0, f64::min);
    let first = all().map(|(time, _)| *time).fold(f64::INFINITY, f64::min);
    let last = all().map(|(time, _)| *time).fold(first, f64::max);
    let across = |time: f64| x + (time - first) / (last - first).max(1.0) * WIDTH;
    let up =
        |value: f64| y + HEAD + HEIGHT - (value - lowest) / (highest - lowest).max(1e-9) * (HEIGHT - 8.0);
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{:.0}\" font-size=\"11\" fill=\"#222222\">{}</text>",
        y + 14.0,
        escape(title)
    )?;
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{:.0}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#f6f7f9\" stroke=\"#d8dce2\"/>",
        y + HEAD
    )?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let line: Vec<_> =
            curve.iter().map(|(time, value)| format!("{:.1},{:.1}", across(*time), up(*value))).collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            line.join(" ")
        )?;
    }
    writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" font-size=\"10\" fill=\"#5c6770\" text-anchor=\"end\">{}</text>",
        x + WIDTH - 4.0,
        y + HEAD + 12.0,
        short(highest)
    )?;
    Ok(())
}

/// Returns time and value of each point that is a number.
fn points(series: &Value) -> Vec<(f64, f64)> {
    let point = |pair: &Value| {
        let value: f64 = pair[1].as_str()?.parse().ok()?;
        value.is_finite().then_some((pair[0].as_f64()?, value))
    };
    series["values"].as_array().into_iter().flatten().filter_map(point).collect()
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.1} G", value / 1e9),
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 1e4 => format!("{:.1} k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.3}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_leaves_a_hole() {
        let series = serde_json::json!({"values": [[1.0, "2"], [2.0, "NaN"], [3.0, "4.5"]]});
        assert_eq!(points(&series), [(1.0, 2.0), (3.0, 4.5)]);
    }

    #[test]
    fn a_panel_is_drawn_with_its_title_and_highest_value() {
        let mut out = String::new();
        cell(&mut out, (0.0, 0.0), "a < b", &[vec![(0.0, 0.0), (10.0, 25_000.0)]]).unwrap();
        assert!(out.contains("a &lt; b") && out.contains("25.0 k") && out.contains("300.0,30.0"), "{out}");
    }
}
