//! Builds a dashboard: variables, rows of panels from left to right, links, spikes as annotations.

use serde_json::{Value, json};

use super::panel::{Panel, datasource};

/// A dashboard before it is laid out.
#[derive(Debug)]
pub(crate) struct Board {
    /// Identifier, fixed for ever: links and bookmarks contain it.
    pub(crate) uid: &'static str,
    title: &'static str,
    description: &'static str,
    variables: &'static [Variable],
    rows: Vec<(&'static str, Vec<Panel>)>,
}

/// A variable, whose value the reader chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable {
    name: &'static str,
    label: &'static str,
    query: &'static str,
    /// True if several values, and all of them, can be chosen at once.
    multi: bool,
}

pub(crate) const JOB: Variable =
    Variable { name: "job", label: "Job", query: "label_values(netqueue_build_info, job)", multi: true };
pub(crate) const INSTANCE: Variable = Variable {
    name: "instance",
    label: "Instance",
    query: "label_values(netqueue_build_info{job=~\"$job\"}, instance)",
    multi: true,
};
pub(crate) const NETNS: Variable = Variable {
    name: "netns",
    label: "Network namespace",
    query: "label_values(netqueue_kernel_mib_total{job=~\"$job\", instance=~\"$instance\"}, netns)",
    multi: true,
};
pub(crate) const LISTENER: Variable = Variable {
    name: "listener",
    label: "Listener (port)",
    query: "label_values(netqueue_accept_queue_limit{job=~\"$job\", instance=~\"$instance\", netns=~\"$netns\"}, port)",
    multi: true,
};

impl Board {
    pub(crate) const fn new(
        uid: &'static str,
        title: &'static str,
        description: &'static str,
        variables: &'static [Variable],
    ) -> Self {
        Self { uid, title, description, variables, rows: Vec::new() }
    }

    /// Adds a row of panels under a heading.
    pub(crate) fn row(mut self, title: &'static str, panels: impl IntoIterator<Item = Panel>) -> Self {
        self.rows.push((title, panels.into_iter().collect()));
        self
    }

    /// Returns the title.
    pub(crate) const fn title(&self) -> &'static str {
        self.title
    }

    /// Every panel.
    pub(crate) fn panels(&self) -> Vec<&Panel> {
        self.rows.iter().flat_map(|(_, panels)| panels).collect()
    }

    /// Formats the dashboard as Grafana reads it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["netqueue"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "timezone": "browser",
            "links": [{
                "type": "dashboards", "title": "netqueue", "tags": ["netqueue"], "asDropdown": true,
                "includeVars": true, "keepTime": true, "icon": "external link",
            }],
            "annotations": { "list": [spikes()] },
            "templating": { "list": self.templating() },
            "panels": self.lay_out(),
        })
    }

    fn templating(&self) -> Vec<Value> {
        let source = json!({
            "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            "current": {}, "hide": 0, "regex": "", "refresh": 1,
        });
        let query = |variable: &Variable| {
            json!({
                "type": "query", "name": variable.name, "label": variable.label, "datasource": datasource(),
                "query": { "query": variable.query, "refId": variable.name }, "definition": variable.query,
                "multi": variable.multi, "includeAll": variable.multi, "allValue": ".*",
                "current": { "text": ["All"], "value": ["$__all"] }, "refresh": 2, "sort": 1, "hide": 0, "regex": "",
            })
        };
        std::iter::once(source).chain(self.variables.iter().map(query)).collect()
    }

    fn lay_out(&self) -> Vec<Value> {
        let (mut placed, mut y) = (Vec::new(), 0);
        for (title, panels) in &self.rows {
            placed.push(json!({
                "id": placed.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
            }));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in panels {
                let (width, height) = panel.size();
                if x + width > 24 {
                    (x, y, tallest) = (0, y + tallest, 0);
                }
                placed.push(panel.json(placed.len() + 1, (x, y)));
                x += width;
                tallest = tallest.max(height);
            }
            y += tallest;
        }
        placed
    }
}

/// Annotation with the spikes that netqueue itself found, across every graph.
fn spikes() -> Value {
    json!({
        "name": "Spikes", "datasource": datasource(), "enable": true, "hide": false, "iconColor": "red",
        "expr": "max by (instance, netns, addr, port, process, cause) (netqueue_spike_active{job=~\"$job\", instance=~\"$instance\"}) > 0",
        "titleFormat": "spike at {{addr}}:{{port}} {{process}}", "textFormat": "{{instance}} {{netns}}: {{cause}}", "step": "15s",
    })
}
