//! Every panel's expressions on a Prometheus that has scraped a real daemon.

use anyhow::Result;

use super::services::Services;
use crate::dashboards::Board;

/// Values for Grafana's variables: everything there is.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "30s"), ("$instance", ".*"), ("$listener", ".*"), ("$netns", ".*"), ("$job", ".*")];

/// Lists the expressions that give no data, each after its panel's title.
pub(super) fn without_data(services: &Services, boards: &[Board]) -> Result<Vec<String>> {
    let mut empty = Vec::new();
    for board in boards {
        for panel in board.panels() {
            for target in &panel.targets {
                let expression = filled_in(&target.expr);
                if services.query(&expression)?.is_empty() {
                    empty.push(format!("{}: {expression}", panel.title));
                }
            }
        }
    }
    Ok(empty)
}

/// Returns the expression as Grafana would send it.
pub(super) fn filled_in(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |expr, (name, value)| expr.replace(name, value))
}
