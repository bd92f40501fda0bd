//! Every panel's expressions on a Prometheus that has scraped a real daemon.

use anyhow::Result;

use super::services::Services;
use crate::dashboards::Board;

/// What Grafana would put in for its variables: everything there is.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "30s"), ("$instance", ".*"), ("$listener", ".*"), ("$netns", ".*"), ("$job", ".*")];

/// The expressions that give no data, each after its panel's title.
pub(super) fn without_data(services: &Services, boards: &[Board]) -> Result<Vec<String>> {
    let mut empty = Vec::new();
    for board in boards {
        for panel in board.panels() {
            for target in &panel.targets {
                let expression = VARIABLES
                    .iter()
                    .fold(target.expr.clone(), |expr, (name, value)| expr.replace(name, value));
                if services.query(&expression)?.is_empty() {
                    empty.push(format!("{}: {expression}", panel.title));
                }
            }
        }
    }
    Ok(empty)
}
