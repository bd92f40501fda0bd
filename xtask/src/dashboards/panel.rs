//! One panel: what it shows, in which unit, and the queries it asks.

use serde_json::{Value, json};

/// How a panel draws.
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
    /// How its series are called.
    pub(crate) legend: String,
}

/// A panel before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// What it means and what to do about it, for whoever hovers over the title.
    pub(crate) description: &'static str,
    pub(crate) targets: Vec<Target>,
    kind: Kind,
    unit: &'static str,
    width: u64,
    height: u64,
    /// Where it turns yellow, and where red.
    limits: Option<(f64, f64)>,
    link: Option<(&'static str, &'static str)>,
}

impl Panel {
    /// A panel of a third of the width.
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

    /// Asks one thing more.
    pub(crate) fn ask(mut self, expr: impl Into<String>, legend: impl Into<String>) -> Self {
        self.targets.push(Target { expr: expr.into(), legend: legend.into() });
        self
    }

    /// Columns of 24.
    pub(crate) fn wide(mut self, width: u64) -> Self {
        self.width = width;
        self
    }

    /// Turns yellow, then red.
    pub(crate) fn limits(mut self, yellow: f64, red: f64) -> Self {
        self.limits = Some((yellow, red));
        self
    }

    /// Where a click on a value leads.
    pub(crate) fn link(mut self, title: &'static str, url: &'static str) -> Self {
        self.link = Some((title, url));
        self
    }

    pub(crate) const fn size(&self) -> (u64, u64) {
        (self.width, self.height)
    }

    /// As Grafana reads it.
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

    /// Tables join their queries by the labels and leave out what only machines read.
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
