//! Grafana dashboards as code: `cargo xtask dashboards` writes them to `deploy/grafana/dashboards`.

mod board;
mod fleet;
mod health;
mod listener;
mod panel;

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::Workspace;
pub(crate) use board::Board;

const FOLDER: &str = "deploy/grafana/dashboards";

/// Every dashboard.
pub(crate) fn all() -> [Board; 3] {
    [fleet::board(), listener::board(), health::board()]
}

/// Writes the dashboards, and prints the files that changed.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for board in all() {
        let file = folder.join(format!("{}.json", board.uid));
        let text = pretty(&board.json());
        if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
            fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
            println!("dashboards: {} written", workspace.show(&file));
        }
    }
    Ok(())
}

fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_committed_is_what_the_code_says() {
        let workspace = Workspace::find().unwrap();
        for board in all() {
            let file = workspace.root().join(FOLDER).join(format!("{}.json", board.uid));
            let committed = fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == pretty(&board.json()), "{}: run `cargo xtask dashboards`", file.display());
        }
    }

    #[test]
    fn every_panel_says_what_it_means_and_asks_something() {
        for board in all() {
            let panels = board.panels();
            assert!(!panels.is_empty());
            for panel in panels {
                assert!(panel.description.len() > 20, "{}: {}", board.uid, panel.title);
                assert!(!panel.targets.is_empty(), "{}: {}", board.uid, panel.title);
            }
        }
    }

    #[test]
    fn panels_tile_the_grid_and_have_ids_of_their_own() {
        for board in all() {
            let json = board.json();
            let panels = json["panels"].as_array().unwrap();
            let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
            assert_eq!(ids.len(), panels.len());
            let mut taken = BTreeSet::new();
            for panel in panels {
                let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
                for x in at("x")..at("x") + at("w") {
                    for y in at("y")..at("y") + at("h") {
                        assert!(x < 24 && taken.insert((x, y)), "{}: {}", board.uid, panel["title"]);
                    }
                }
            }
        }
    }
}
