// Whether what is shown can be believed: probes, exactness, losses, freshness. The pill, and the page behind it.

import { h, icon, text, attribute, sync } from "./dom.js";
import { clock, count, plural, span } from "./format.js";
import { state } from "./data.js";

/** Losses that cost an event and no count; any other may cost a charge, which the residuals would show. */
const EVENTS_ONLY = new Set(["ring_full", "undecodable", "suppressed"]);
const losses = (status, events) => Object.entries(status.events?.lost ?? {}).filter(([reason, lost]) => lost > 0 && EVENTS_ONLY.has(reason) === events);
const summed = (list) => list.reduce((sum, [, number]) => sum + number, 0);
const listed = (list) => list.map(([reason, number]) => `${count(number)} (${reason.replaceAll("_", " ")})`).join(", ");
const missing = (status) => status.probes.filter((probe) => !probe.attached);
const uneven = (status) =>
  status.reconciliation.flatMap((space) =>
    Object.entries(space.counters).filter(([, row]) => row.residual !== 0).map(([counter, row]) => ({ netns: space.netns, counter, ...row })),
  );

/** The one thing worth saying first: `{state, words}`. */
export function judgement() {
  const { status } = state;
  if (state.link === "gone") return { state: "bad", words: "No answer from the daemon" };
  if (!status) return { state: "wait", words: "Asking the daemon" };
  const blind = missing(status);
  if (blind.some((probe) => probe.required) || status.probes.length === 0) return { state: "bad", words: "Partly blind" };
  const off = uneven(status);
  if (off.length) return { state: "bad", words: `${plural(off.length, "sum")} off` };
  if (status.reconciliation.length === 0) return { state: "warn", words: "Not compared yet" };
  const blinks = summed(losses(status, false));
  if (blinks) return { state: "warn", words: `Sums exact, ${plural(blinks, "call")} not seen whole` };
  const lost = summed(losses(status, true)) + state.streamLost;
  if (lost) return { state: "warn", words: `Sums exact, ${plural(lost, "event")} missing` };
  if (blind.length) return { state: "warn", words: "Exact, with gaps" };
  return { state: "good", words: "Exact" };
}

const SIGNS = { good: "check", warn: "alert", bad: "cross", wait: "question" };

/** Keeps the pill true. */
export function pill(element) {
  const now = judgement();
  if (element.dataset.state === now.state && element.dataset.words === now.words) return;
  element.dataset.words = now.words;
  attribute(element, "data-state", now.state);
  element.replaceChildren(icon(SIGNS[now.state], 14), h("span", {}, now.words));
  element.title = "Whether netqueue's counts equal the kernel's, and what it could not see";
}

function checks() {
  const { status } = state;
  const blind = missing(status);
  const off = uneven(status);
  const lost = losses(status, true);
  const blinks = losses(status, false);
  const skipped = status.probes.reduce((sum, probe) => sum + (probe.missed ?? 0), 0);
  const spaces = status.reconciliation.length;
  const list = [
    {
      id: "sums",
      state: off.length ? "bad" : spaces ? "good" : "warn",
      title: off.length ? "The sums do not add up" : spaces ? "The sums add up" : "Nothing has been compared yet",
      text: off.length
        ? off.map((row) => `${row.counter} in ${row.netns}: the kernel counted ${count(row.since_attach)}, netqueue ${count(row.attributed)}, so ${count(row.residual)} cannot be told whose they are.`).join(" ")
        : `What netqueue charged to listeners equals the kernel's own counters in ${plural(spaces, "network namespace")}. Nothing is left over.`,
    },
    {
      id: "probes",
      state: blind.some((probe) => probe.required) || !status.probes.length ? "bad" : blind.length ? "warn" : "good",
      title: blind.length ? `${plural(blind.length, "probe")} not attached` : `All ${status.probes.length} probes are attached`,
      text: blind.length
        ? blind.map((probe) => `${probe.program} on ${probe.function}: ${probe.detail ?? "no reason is known"}.`).join(" ")
        : `Mode ${status.mode}. The kernel skipped ${skipped ? plural(skipped, "run") : "none of their runs"}.`,
    },
    {
      id: "events",
      state: lost.length || state.streamLost ? "warn" : "good",
      title: lost.length || state.streamLost ? "Some single events are missing" : "No event is missing",
      text:
        (lost.length ? `Lost: ${listed(lost)}. ` : "") +
        (state.streamLost ? `${plural(state.streamLost, "event")} did not reach this page. ` : "") +
        `${count(status.events.seen)} arose in the kernel, ${count(status.events.stored)} reached the store. Counts never depend on events.`,
    },
    {
      id: "calls",
      state: blinks.length ? "warn" : "good",
      title: blinks.length ? "Some calls were not seen whole" : "Every call was seen whole",
      text: blinks.length
        ? `${listed(blinks)}. A charge may be missing for each; if one is, the sums above do not add up.`
        : "Each kernel function that decides was seen at its beginning and at its end.",
    },
    {
      id: "window",
      state: "good",
      title: state.coverage ? `Events are held since ${clock(state.coverage.since)}` : "Events are held",
      text: state.coverage
        ? `${count(state.coverage.events_held)} in memory${state.coverage.events_evicted ? `, ${count(state.coverage.events_evicted)} older ones have made room` : ", none had to make room yet"}. Counting began ${clock(status.attached)}, ${span((Date.parse(status.taken) - Date.parse(status.attached)) / 1000)} ago; what happened before is in the kernel's counters only.`
        : "",
    },
  ];
  state.warnings.forEach((warning, index) => list.push({ id: `warning ${index}`, state: "warn", title: "The daemon says", text: `${warning}.` }));
  return list;
}

/** The page. */
export function trustPage() {
  const list = h("div", { class: "checks" });
  const body = h("tbody");
  const table = h(
    "table", {},
    h("thead", {}, h("tr", {}, ["Namespace", "Kernel counter", "Kernel, since attach", "Attributed by netqueue", "Left over"].map((head, index) => h("th", { class: index > 1 ? "num" : null, scope: "col" }, head)))),
    body,
  );
  const probes = h("tbody");
  const probeTable = h(
    "table", {},
    h("thead", {}, h("tr", {}, ["Kernel function", "At", "Program", "How", "Attached", "Runs skipped"].map((head, index) => h("th", { class: index > 4 ? "num" : null, scope: "col" }, head)))),
    probes,
  );
  const element = h(
    "div", {},
    h("div", { class: "verdict" }, h("div", {},
      h("h1", {}, "Can I trust these numbers?"),
      h("p", {}, "netqueue does not guess. It charges what the kernel's own counters moved by, and shows here what it could not see, could not keep, or cannot tell whose it is."))),
    h("div", { class: "grid" },
      h("section", { class: "card span-12" }, h("header", {}, h("h2", {}, "What there is to know")), h("div", { class: "body" }, list)),
      h("section", { class: "card span-12" }, h("header", {}, h("h2", {}, "The kernel's counters against netqueue's"), h("span", { class: "hint" }, "The right column is the promise: 0.")), h("div", { class: "body wide" }, table)),
      h("section", { class: "card span-12" }, h("header", {}, h("h2", {}, "Probes")), h("div", { class: "body wide" }, probeTable))),
  );
  const update = () => {
    const { status } = state;
    if (!status) return;
    sync(list, checks(), (check) => check.id, () => {
      const mark = h("span", { class: "mark" });
      const [title, words] = [h("b"), h("p")];
      const row = h("div", { class: "check" }, mark, h("div", {}, title, words));
      return {
        element: row,
        update(check) {
          if (mark.dataset.state !== check.state) mark.replaceChildren(icon(SIGNS[check.state], 14));
          attribute(mark, "data-state", check.state);
          text(title, check.title);
          text(words, check.text);
        },
      };
    });
    const rows = status.reconciliation.flatMap((space) => Object.entries(space.counters).map(([counter, row]) => ({ netns: space.netns, counter, ...row })));
    sync(body, rows, (row) => `${row.netns} ${row.counter}`, (row) => {
      const cells = [h("td", { class: "num" }), h("td", { class: "num" }), h("td", { class: "num residual" })];
      return {
        element: h("tr", {}, h("td", {}, row.netns), h("td", { class: "mono" }, row.counter), cells),
        update(now) {
          text(cells[0], count(now.since_attach));
          text(cells[1], count(now.attributed));
          text(cells[2], count(now.residual));
          attribute(cells[2], "data-state", now.residual ? "bad" : "good");
        },
      };
    });
    sync(probes, status.probes, (probe) => probe.program, (probe) => {
      const [attached, skipped] = [h("td"), h("td", { class: "num" })];
      return {
        element: h("tr", {}, h("td", { class: "mono" }, probe.function), h("td", {}, probe.at), h("td", { class: "mono quiet" }, probe.program), h("td", {}, probe.mode), attached, skipped),
        update(now) {
          text(attached, now.attached ? "yes" : now.required ? "NO" : "no");
          attribute(attached, "class", now.attached ? null : "residual");
          attribute(attached, "data-state", now.attached ? null : "bad");
          text(skipped, now.missed === null || now.missed === undefined ? "not told" : count(now.missed));
        },
      };
    });
  };
  return { title: "Can I trust this?", page: "trust", element, update, end() {} };
}
