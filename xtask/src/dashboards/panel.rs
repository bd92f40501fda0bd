//! One panel: its kind, its unit, and its queries.

use serde_json::{Value, json};

/// Kind of drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Lines over time.
    Lines,
    /// Areas over time that add up.
    Stack,
    /// One number, with its history behind it.
    Stat,
    /// A row for each series, by its newest value.
    Table,
    /// A histogram over time.
    Heatmap,
}

/// A query.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// PromQL, with Grafana's variables in it.
    pub(crate) expr: String,
    /// Name of its series in the legend.
    pub(crate) legend: String,
}

/// A panel before it is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// Explanation and advice, shown when the reader hovers over the title.
    pub(crate) description: &'static str,
    pub(crate) targets: Vec<Target>,
    kind: Kind,
    unit: &'static str,
    width: u64,
    height: u64,
    /// Values at which it turns yellow, and red.
    limits: Option<(f64, f64)>,
    link: Option<(&'static str, &'static str)>,
}

impl Panel {
    /// Builds a panel with the usual size of its kind.
    pub(crate) fn new(
        kind: Kind,
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        let (width, height) = match kind {
            Kind::Stat => (4, 4),
            Kind::Table => (24, 10),
            Kind::Lines | Kind::Stack | Kind::Heatmap => (12, 8),
        };
        Self { title, description, targets: Vec::new(), kind, unit, width, height, limits: None, link: None }
    }

    /// Adds a query.
    pub(crate) fn ask(mut self, expr: impl Into<String>, legend: impl Into<String>) -> Self {
        self.targets.push(Target { expr: expr.into(), legend: legend.into() });
        self
    }

    /// Sets the width, in columns of 24.
    pub(crate) fn wide(mut self, width: u64) -> Self {
        self.width = width;
        self
    }

    /// Sets the values at which it turns yellow, then red.
    pub(crate) fn limits(mut self, yellow: f64, red: f64) -> Self {
        self.limits = Some((yellow, red));
        self
    }

    /// Sets the page to which a click on a value leads.
    pub(crate) fn link(mut self, title: &'static str, url: &'static str) -> Self {
        self.link = Some((title, url));
        self
    }

    pub(crate) const fn size(&self) -> (u64, u64) {
        (self.width, self.height)
    }

    /// Formats the panel as Grafana reads it.
    pub(crate) fn json(&self, id: usize, (x, y): (u64, u64)) -> Value {
        let (kind, options) = self.drawing();
        json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "targets": self.targets.iter().enumerate().map(|(n, target)| self.target(n, target)).collect::<Vec<_>>(),
            "fieldConfig": { "defaults": self.field(), "overrides": [] },
            "options": options,
            "transformations": self.transformations(),
        })
    }

    fn target(&self, number: usize, target: &Target) -> Value {
        let instant = matches!(self.kind, Kind::Table);
        json!({
            "refId": char::from(b'A' + u8::try_from(number).unwrap_or(25)).to_string(),
            "datasource": datasource(),
            "editorMode": "code",
            "expr": target.expr,
            "legendFormat": target.legend,
            "instant": instant,
            "range": !instant,
            "format": match self.kind {
                Kind::Table => "table",
                Kind::Heatmap => "heatmap",
                Kind::Lines | Kind::Stack | Kind::Stat => "time_series",
            },
        })
    }

    fn field(&self) -> Value {
        let steps = match self.limits {
            None => json!([{ "color": "text", "value": null }]),
            Some((yellow, red)) => json!([
                { "color": "green", "value": null },
                { "color": "yellow", "value": yellow },
                { "color": "red", "value": red },
            ]),
        };
        let (fill, stacking) = if self.kind == Kind::Stack { (60, "normal") } else { (8, "none") };
        let mut field = json!({
            "unit": self.unit,
            "min": 0,
            "color": { "mode": if self.kind == Kind::Stat { "thresholds" } else { "palette-classic" } },
            "thresholds": { "mode": "absolute", "steps": steps },
            "custom": match self.kind {
                Kind::Lines | Kind::Stack => json!({
                    "drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never",
                    "stacking": { "mode": stacking, "group": "A" },
                }),
                Kind::Stat | Kind::Table | Kind::Heatmap => json!({}),
            },
        });
        if let Some((title, url)) = self.link {
            field["links"] = json!([{ "title": title, "url": url, "targetBlank": false }]);
        }
        field
    }

    fn drawing(&self) -> (&'static str, Value) {
        match self.kind {
            Kind::Lines | Kind::Stack => (
                "timeseries",
                json!({
                    "legend": { "displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": ["max", "lastNotNull"] },
                    "tooltip": { "mode": "multi", "sort": "desc" },
                }),
            ),
            Kind::Stat => (
                "stat",
                json!({
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                    "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto",
                }),
            ),
            Kind::Table => {
                ("table", json!({ "showHeader": true, "cellHeight": "sm", "footer": { "show": false } }))
            }
            Kind::Heatmap => (
                "heatmap",
                json!({
                    "calculate": false, "yAxis": { "unit": self.unit },
                    "color": { "scheme": "Oranges", "mode": "scheme", "exponent": 0.5, "steps": 64 },
                    "tooltip": { "mode": "single", "yHistogram": true },
                }),
            ),
        }
    }

    /// Transformations: a table joins its queries by label, and hides the columns meant for machines.
    fn transformations(&self) -> Value {
        if self.kind != Kind::Table {
            return json!([]);
        }
        let names: serde_json::Map<_, _> = self
            .targets
            .iter()
            .enumerate()
            .map(|(n, target)| (format!("Value #{}", char::from(b'A' + n as u8)), json!(target.legend)))
            .collect();
        json!([
            { "id": "merge", "options": {} },
            { "id": "organize", "options": { "excludeByName": { "Time": true, "__name__": true, "job": true }, "renameByName": names } },
        ])
    }
}

/// The data source the reader has chosen.
pub(crate) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}
