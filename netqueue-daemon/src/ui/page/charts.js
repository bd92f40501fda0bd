// Bars, sparklines and plots: each says in words what it draws.
/* global uPlot */

import { attribute, h, s, sync, text } from "./dom.js";
import { clock, count, rate } from "./format.js";

/** A queue's bar. The accept queue is full when it holds more than its limit, so the scale ends at limit + 1. */
export function queueBar({ big = false, over = 0 } = {}) {
  const fill = h("i", { class: "fill" });
  const peak = h("i", { class: "peak", hidden: true });
  const value = h("span", { class: "value" });
  const track = h("span", { class: "track" }, fill, peak);
  const element = h("div", { class: big ? "bar big" : "bar" }, track, big ? null : value);
  const nothing = h("span", { class: "none" }, "–");
  const holder = h("div", {}, nothing);
  const update = (queue, highest) => {
    if (!queue) {
      if (!nothing.isConnected) holder.replaceChildren(nothing);
      return;
    }
    if (!element.isConnected) holder.replaceChildren(element);
    const room = Math.max(1, queue.limit + over);
    const share = Math.min(1, queue.length / room);
    fill.style.transform = `scaleX(${share})`;
    peak.hidden = !(highest > queue.length);
    if (highest) peak.style.left = `calc(${Math.min(1, highest / room) * 100}% - 2px)`;
    attribute(element, "data-state", share >= 1 ? "full" : share >= 0.7 ? "high" : "ok");
    text(value, `${count(queue.length)} / ${count(queue.limit)}`);
    attribute(track, "role", "img");
    attribute(track, "aria-label", `${queue.length} in the queue, limit ${queue.limit}${share >= 1 ? ", full" : ""}`);
  };
  return { element: holder, update };
}

/** Small columns of what was added lately. A column without data is left out, one of zero is a hairline. */
export function sparkline({ width = 110, height = 24, slots = 40, kind = "drops" } = {}) {
  const element = s("svg", { class: `spark ${kind}`, viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", role: "img" });
  const base = s("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, "vector-effect": "non-scaling-stroke" });
  const columns = Array.from({ length: slots }, (_, index) =>
    s("rect", { x: (index * width) / slots, width: (width / slots) * 0.72, y: height, height: 0, rx: 0.5 }),
  );
  element.append(base, ...columns);
  const update = (values, what = kind) => {
    const most = Math.max(1, ...values.map((value) => value ?? 0));
    let sum = 0;
    values.forEach((value, index) => {
      sum += value ?? 0;
      const tall = value ? Math.max(1.5, (value / most) * (height - 1)) : 0;
      attribute(columns[index], "y", (height - tall).toFixed(1));
      attribute(columns[index], "height", tall.toFixed(1));
    });
    attribute(element, "aria-label", `${count(sum)} ${what} in the last minutes, at most ${count(most)} at once`);
  };
  return { element, update, slots };
}

/** The computed value of a colour token, for canvas. */
function colour(token) {
  const probe = h("i", { hidden: true });
  probe.style.color = `var(--${token})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

const DASHES = [[], [6, 3], [2, 3]];

/**
 * Lines over time: `series` are `{label, token, dash, fill}`; `update(times, columns)` takes seconds and values.
 * A table of the newest values stands beside it for whoever cannot see it.
 */
export function plot({ series, label, unit = rate, whole = false, height = 190, step = false }) {
  const box = h("div", { class: "plot", role: "img", "aria-label": label });
  const legend = h("div", { class: "legend" });
  let chart = null;
  let last = null;
  const build = () => {
    chart?.destroy();
    const ink = colour("ink-3");
    const grid = { stroke: colour("line-soft"), width: 1 };
    const font = "11.5px system-ui, sans-serif";
    const axis = { stroke: ink, grid, ticks: { show: false }, font };
    chart = new uPlot(
      {
        width: Math.max(200, box.clientWidth),
        height,
        padding: [10, 8, 0, 0],
        cursor: { y: false, points: { size: 6 } },
        legend: { show: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.08)] } },
        axes: [
          { ...axis, size: 26, values: (_, ticks) => ticks.map((tick) => clock(tick * 1000)), space: 90 },
          { ...axis, size: 46, incrs: whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000] : undefined, values: (_, ticks) => ticks.map((tick) => unit(tick)), space: 34 },
        ],
        series: [
          {},
          ...series.map(({ label: name, token, dash = 0, fill = false }) => ({
            label: name,
            stroke: colour(token),
            width: 2,
            dash: DASHES[dash],
            fill: fill ? colour(token).replace(")", " / 0.14)").replace("rgb(", "rgb(").replaceAll(",", " ") : undefined,
            points: { show: false },
            paths: step ? uPlot.paths.stepped({ align: -1 }) : undefined,
            spanGaps: false,
          })),
        ],
        hooks: { setCursor: [(self) => tellValues(self.cursor.idx)] },
      },
      last ?? [[], ...series.map(() => [])],
      box,
    );
  };
  const tellValues = (index) => {
    const at = index ?? (last ? last[0].length - 1 : -1);
    sync(legend, series.map((one, number) => ({ ...one, value: last?.[number + 1]?.[at] })), (one) => one.label, (one) => {
      const value = h("b");
      const element = h("span", {}, h("i", { class: "swatch", "data-c": one.token, "data-p": one.dash ?? 0 }), one.label, value);
      return { element, update: ({ value: now }) => text(value, now === null || now === undefined ? "" : unit(now)) };
    });
  };
  const watcher = new ResizeObserver(() => {
    if (!chart && box.clientWidth) build();
    else if (chart && box.clientWidth && Math.abs(chart.width - box.clientWidth) > 1) chart.setSize({ width: box.clientWidth, height });
  });
  watcher.observe(box);
  return {
    element: h("div", {}, legend, box),
    update(times, columns) {
      last = [times, ...columns];
      chart?.setData(last);
      tellValues(null);
    },
    recolour: () => chart && build(),
    end() {
      watcher.disconnect();
      chart?.destroy();
    },
  };
}
