// The overview: what is wrong now, in a sentence, then every listener.

import { attribute, h, icon, sync, text } from "./dom.js";
import { ago, count, place, plural, rate, span } from "./format.js";
import { allBuckets, buckets, rateNow, state } from "./data.js";
import { queueBar, sparkline } from "./charts.js";
import { eventTable } from "./events.js";
import { besideCard, besideOn } from "./beside.js";
import { verdictCard, waitingOn } from "./verdicts.js";
import { words } from "./words.js";

/** The span of sparklines, and their columns. */
const SPAN = 300;
const SLOTS = 50;
/** Rows drawn at first; more on demand, so that a thousand listeners cost nothing until asked for. */
const PAGE = 60;

const fullness = (listener) => (listener.accept_queue ? listener.accept_queue.length / (listener.accept_queue.limit + 1) : -1);
const most = (total) => total.by_cause.reduce((top, part) => (top && top.count >= part.count ? top : part), null);
export const ghosts = (listener) => listener.ghosts?.live ?? 0;

/** `now`, `earlier` or `quiet`. */
export const mood = (listener) => (rateNow(listener.id, "drops") > 0 ? "now" : listener.drops.total > 0 ? "earlier" : "quiet");
const MOODS = { now: "dropping now", earlier: "has dropped earlier", quiet: "nothing dropped" };

const KIND = {
  listener: "",
  endpoint: "connections, or a closed port",
  ephemeral: "client ports",
  other: "what did not fit",
};

const SORTS = {
  listener: (a, b) => place(a).localeCompare(place(b), "en", { numeric: true }),
  accept: (a, b) => fullness(a) - fullness(b),
  drops: (a, b) => rateNow(a.id, "drops") - rateNow(b.id, "drops") || a.drops.total - b.drops.total || a.resets.total - b.resets.total,
  resets: (a, b) => rateNow(a.id, "resets") - rateNow(b.id, "resets") || a.resets.total - b.resets.total,
};

function makeRow(first) {
  const dot = h("span", { class: "dot", role: "img" });
  const name = h("a", { href: `#/listener/${encodeURIComponent(first.id)}` });
  const sub = h("span", { class: "sub" });
  const accept = queueBar({ over: 1 });
  const syn = queueBar();
  const spark = sparkline({ slots: SLOTS });
  const drops = h("div", { class: "count" }, h("b"), h("small"));
  const why = h("div", { class: "why" }, h("span"), h("small"));
  const resets = h("div", { class: "count" }, h("b"), h("small"));
  const element = h(
    "tr", { onclick: (click) => { if (!click.target.closest("a") && !getSelection().toString()) location.hash = name.hash; } },
    h("td", {}, h("div", { class: "who" }, dot, h("div", {}, name, sub))),
    h("td", {}, accept.element), h("td", {}, syn.element),
    h("td", { class: "num" }, drops), h("td", {}, spark.element), h("td", {}, why),
    h("td", { class: "num" }, resets),
  );
  const update = (listener) => {
    const state = mood(listener);
    attribute(dot, "data-state", state);
    attribute(dot, "aria-label", MOODS[state]);
    attribute(dot, "title", MOODS[state]);
    text(name, place(listener));
    const space = listener.netns === "host" ? "" : `namespace ${listener.netns}`;
    const closed = listener.closed ?? listener.listener?.closed ? "closed" : "";
    text(sub, [listener.process, closed, KIND[listener.kind] ?? listener.kind, space].filter(Boolean).join(" · ") || "listener");
    accept.update(listener.accept_queue, listener.traffic?.accept_queue_peak?.last_minute);
    syn.update(listener.syn_queue, listener.traffic?.syn_queue_peak?.last_minute);
    const now = rateNow(listener.id, "drops");
    attribute(drops, "data-state", state);
    text(drops.firstChild, listener.drops.total ? count(listener.drops.total) : "–");
    text(drops.lastChild, now ? `${rate(now)}/s` : "");
    spark.update(buckets(listener.id, "drops", SPAN, SLOTS));
    const top = most(listener.drops);
    text(why.firstChild, top ? words("drop", top.cause, top.stage).title : "");
    const others = listener.drops.by_cause.length - 1;
    const ghost = ghosts(listener);
    text(why.lastChild, [others > 0 ? `and ${plural(others, "other cause")}` : "", ghost ? `${plural(ghost, "ghost")}` : ""].filter(Boolean).join(" · "));
    text(resets.firstChild, listener.resets.total ? count(listener.resets.total) : "–");
    const reset = most(listener.resets);
    const taken = listener.connection_resets?.total ?? 0;
    const onConnections = taken ? `${count(taken)} on accepted connections` : "";
    text(resets.lastChild, [reset ? words("reset", reset.cause, null).title : "", onConnections].filter(Boolean).join(" · "));
  };
  return { element, update };
}

function tile(title, kind) {
  const figure = h("div", { class: "figure" }, h("span"), h("small"));
  const spark = kind ? sparkline({ width: 260, height: 26, slots: 60, kind }) : null;
  const bar = kind ? null : queueBar({ over: 1 });
  const under = h("div", { class: "under" });
  const element = h("section", { class: "card tile span-3" }, h("h2", {}, title), figure, spark?.element ?? bar.element, under);
  return { element, figure, spark, bar, under };
}

function sentence(listeners) {
  const now = listeners.filter((one) => rateNow(one.id, "drops") > 0);
  const earlier = listeners.filter((one) => one.drops.total > 0);
  const watched = state.status ? span((Date.parse(state.status.taken) - Date.parse(state.status.attached)) / 1000) : "";
  if (now.length) {
    const worst = now.reduce((a, b) => (rateNow(a.id, "drops") >= rateNow(b.id, "drops") ? a : b));
    const top = most(worst.drops);
    const known = top ? words("drop", top.cause, top.stage) : null;
    const share = now.length === 1 ? "" : ` Most at ${place(worst)}.`;
    return {
      state: "bad",
      title: now.length === 1 ? `${place(worst)} is dropping connections` : `${now.length} listeners are dropping connections`,
      text: `${share} ${known ? `${known.title}: ${known.meaning}` : ""}`.trim(),
    };
  }
  const scope = state.diagnosis?.scope;
  if (scope?.blind.length) {
    return { state: "warn", title: "netqueue cannot see whether anything is the matter", text: `${scope.blind.join(", and ")}. netqueue doctor on that machine says why.` };
  }
  const waits = waitingOn();
  if (waits) {
    return { state: "bad", title: `Connections wait for accept() at ${place(waits.subject)}`, text: waits.summary };
  }
  if (earlier.length) {
    const last = earlier.reduce((a, b) => (Date.parse(a.last_seen) >= Date.parse(b.last_seen) ? a : b));
    return { state: "warn", title: "Nothing is being dropped right now", text: `${plural(earlier.length, "listener")} dropped packets earlier, ${place(last)} ${ago(last.last_seen, Date.parse(state.status.taken))}. netqueue has been watching for ${watched}.` };
  }
  return { state: "good", title: "Nothing has been dropped", text: `netqueue has been watching for ${watched}. A listener appears here with its first drop or reset, or when it is found; a connection that was merely slow to be accepted is no drop.${besideOn(null).length ? " Other counters of the kernel moved: see below." : ""}${scope ? ` Looked at: ${plural(scope.listeners, "listener")} in ${plural(scope.namespaces, "network namespace")}${scope.waiting ? `; ${plural(scope.waiting, "connection")} in accept queues now` : ""}. Cannot be seen from here: AF_UNIX sockets, packets that never arrived or that netfilter dropped, the other end of connections.` : ""}` };
}

const FILTERS = [["trouble", "With drops"], ["listener", "Listeners"], ["all", "Everything"]];

/** The page. */
export function overviewPage() {
  let sort = ["drops", -1];
  let filter = "all";
  let asked = "";
  let drawn = PAGE;
  const mark = h("span", { class: "mark" });
  const [title, said] = [h("h1"), h("p")];
  const tiles = { drops: tile("Packets dropped", "drops"), resets: tile("Resets sent", "resets"), full: tile("Fullest accept queue"), hanging: tile("Clients left hanging", null) };
  tiles.hanging.bar.element.remove();
  const body = h("tbody");
  const heads = [["listener", "Listener"], ["accept", "Accept queue"], [null, "SYN queue"], ["drops", "Dropped", "num"], [null, "Last 5 minutes"], [null, "Mostly because"], ["resets", "Resets", "num"]];
  const headCells = heads.map(([key, label, kind]) => {
    const inside = key ? h("button", { type: "button", onclick: () => { sort = [key, sort[0] === key ? -sort[1] : key === "listener" ? 1 : -1]; update(); } }, label) : label;
    return h("th", { scope: "col", class: kind ?? null, "data-key": key }, inside);
  });
  const table = h("table", { class: "listeners" }, h("thead", {}, h("tr", {}, headCells)), body);
  const empty = h("div", { class: "empty" }, h("h2"), h("p"));
  const more = h("button", { class: "button", type: "button", onclick: () => { drawn += 4 * PAGE; update(); } });
  const moreBox = h("div", { class: "more", hidden: true }, more);
  const search = h("input", { type: "search", placeholder: "port, address, process", "aria-label": "Search listeners", "data-search": true, oninput: () => { asked = search.value.trim().toLowerCase(); drawn = PAGE; update(); } });
  const choices = FILTERS.map(([key, label]) => h("button", { type: "button", "aria-pressed": key === filter ? "true" : "false", onclick: (click) => {
    filter = key;
    choices.forEach((choice) => choice.setAttribute("aria-pressed", choice === click.currentTarget ? "true" : "false"));
    update();
  } }, label));
  const number = h("span", { class: "hint right" });
  const matter = verdictCard();
  const beside = besideCard();
  const events = eventTable({ short: true });
  const noEvents = h("div", { class: "empty" }, h("p", {}, "No drop and no reset in the window that is held."));
  const listenersCard = h("section", { class: "card span-12", "aria-label": "Listeners" },
    h("header", {}, h("h2", {}, "Listeners"), h("div", { class: "tools" }, search, h("div", { class: "choices", role: "group", "aria-label": "Show" }, choices)), number),
    h("div", { class: "wide" }, table, empty), moreBox);
  const element = h("div", {},
    h("div", { class: "verdict" }, mark, h("div", {}, title, said)),
    h("div", { class: "grid" }, Object.values(tiles).map((one) => one.element)),
    h("div", { class: "grid" }, matter.element, beside.element, listenersCard,
      h("section", { class: "card span-12", "aria-label": "Latest events" }, h("header", {}, h("h2", {}, "Latest events"), h("a", { class: "right hint", href: "#/events" }, "All events")), h("div", { class: "body wide" }, events.element, noEvents))));

  const updateTiles = (listeners) => {
    const sum = (of) => listeners.reduce((total, one) => total + of(one), 0);
    for (const what of ["drops", "resets"]) {
      const { figure, spark, under, element: box } = tiles[what];
      const now = sum((one) => rateNow(one.id, what));
      text(figure.firstChild, rate(now));
      text(figure.lastChild, "per second now");
      spark.update(allBuckets(what, SPAN, spark.slots), what);
      const total = sum((one) => one[what].total);
      text(under, `${count(total)} since netqueue attached`);
      attribute(box, "data-state", what === "drops" && now > 0 ? "bad" : null);
    }
    const fullest = listeners.filter((one) => one.accept_queue).reduce((a, b) => (a && fullness(a) >= fullness(b) ? a : b), null);
    const full = tiles.full;
    text(full.figure.firstChild, fullest ? `${Math.round(Math.min(1, Math.max(0, fullness(fullest))) * 100)} %` : "–");
    text(full.figure.lastChild, fullest ? place(fullest) : "no queue was looked at yet");
    full.bar.update(fullest?.accept_queue ?? null, fullest?.traffic?.accept_queue_peak?.last_minute);
    text(full.under, fullest ? "of what waits for accept()" : "");
    attribute(full.element, "data-state", fullest && fullness(fullest) >= 1 ? "bad" : null);
    const live = sum(ghosts);
    const unresolved = sum((one) => one.handshakes?.unresolved ?? 0);
    text(tiles.hanging.figure.firstChild, count(live + unresolved));
    text(tiles.hanging.figure.lastChild, "believe they are in");
    text(tiles.hanging.under, live + unresolved ? `${count(live)} are ghosts, ${count(unresolved)} may yet get in` : "no dropped ACK left anybody so");
    attribute(tiles.hanging.element, "data-state", live ? "warn" : null);
  };

  const update = () => {
    const { listeners } = state;
    element.classList.toggle("stale", state.link === "gone");
    if (!state.status) {
      text(title, state.link === "gone" ? "netqueue does not answer" : "Asking netqueue");
      text(said, state.error ? `This page is here, but the daemon's API is not: ${state.error}.` : "");
      listenersCard.hidden = true;
      return;
    }
    listenersCard.hidden = false;
    const verdict = sentence(listeners);
    if (mark.dataset.state !== verdict.state) mark.replaceChildren(icon({ good: "check", warn: "check", bad: "alert" }[verdict.state], 20));
    attribute(mark, "data-state", verdict.state);
    text(title, verdict.title);
    text(said, verdict.text);
    updateTiles(listeners);
    matter.update();
    beside.update();
    const chosen = listeners.filter((one) => (filter === "all" || (filter === "trouble" ? one.drops.total > 0 : one.kind === "listener")) &&
      (!asked || `${place(one)} ${one.process} ${one.netns} ${one.kind}`.toLowerCase().includes(asked)));
    const [key, sign] = sort;
    chosen.sort((a, b) => sign * SORTS[key](a, b) || SORTS.listener(a, b));
    headCells.forEach((cell) => attribute(cell, "aria-sort", cell.dataset.key === key ? (sign < 0 ? "descending" : "ascending") : null));
    sync(body, chosen.slice(0, drawn), (one) => one.id, makeRow);
    table.hidden = chosen.length === 0;
    empty.hidden = chosen.length > 0;
    if (!chosen.length) {
      text(empty.firstChild, listeners.length ? "Nothing fits" : "Nothing to show yet");
      text(empty.lastChild, listeners.length ? "No account fits this search. Clear it, or show everything." : "No listener has dropped a packet or sent a reset since netqueue attached. To see netqueue at work: netqueue lab demo.");
    }
    moreBox.hidden = chosen.length <= drawn;
    text(more, `Show more (${count(Math.max(0, chosen.length - drawn))} are not drawn)`);
    text(number, chosen.length === listeners.length ? `${count(listeners.length)}` : `${count(chosen.length)} of ${count(listeners.length)}`);
    events.update(state.events.slice(0, 10));
    events.element.hidden = state.events.length === 0;
    noEvents.hidden = state.events.length > 0;
  };
  return { title: "", page: "overview", element, update, end() {} };
}
