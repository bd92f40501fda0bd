// Single drops and resets: the table on every page, and the page of its own.

import { h, sync, text } from "./dom.js";
import { clock, count, place } from "./format.js";
import { ask, state } from "./data.js";
import { words } from "./words.js";

/** A queue as an event saw it. */
const queue = (name, value) => (value ? `${name} ${count(value.length)}/${count(value.limit)}` : null);

/** A table of events; `short` leaves out what an overview has no room for, `own` leaves out the listener. */
export function eventTable({ short = false, own = false } = {}) {
  const heads = ["Time", "What", own ? null : "Listener", "Client", short ? null : "Queues then", short ? null : "Kernel's reason"].filter(Boolean);
  const body = h("tbody");
  const table = h("table", { class: "events" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), body);
  const make = (event) => {
    const known = words(event.kind, event.cause, event.stage);
    const at = place(event);
    const age = event.age_seconds ? `, ${event.age_seconds.toFixed(1)} s after its ACK was dropped` : "";
    const row = h(
      "tr", {},
      h("td", { class: "mono quiet", title: event.time }, clock(event.time, true)),
      h("td", {}, h("span", { class: "kind", "data-kind": event.kind, title: known.meaning }, known.title, h("span", { class: "sr" }, event.kind)), age && h("span", { class: "quiet" }, age)),
      own ? null : h("td", { class: "mono" }, event.listener ? h("a", { href: `#/listener/${encodeURIComponent(event.listener)}` }, at) : at),
      h("td", { class: "mono" }, event.peer ? place(event.peer) : "–"),
      short ? null : h("td", { class: "quiet" }, [queue("accept", event.accept_queue), queue("SYN", event.syn_queue)].filter(Boolean).join(", ") || "–"),
      short ? null : h("td", { class: "mono quiet" }, event.kernel_reason ?? "–"),
    );
    return { element: row, update() {} };
  };
  return { element: table, update: (events) => sync(body, events, (event) => event.seq, make) };
}

const KINDS = [["", "All"], ["drop", "Drops"], ["reset", "Resets"]];

/** The page: a live log that can be held still, and searched. */
export function eventsPage() {
  let kind = "";
  let held = null;
  let asked = "";
  const table = eventTable();
  const note = h("p");
  const empty = h("div", { class: "empty", hidden: true }, h("h2", {}, "No such event"), h("p", {}, "Nothing that fits was dropped or reset in the window that is held. That is good news, unless the search is too narrow."));
  const search = h("input", { type: "search", placeholder: "address, port, client or cause", "aria-label": "Search events", "data-search": true, oninput: () => { asked = search.value.trim().toLowerCase(); update(); } });
  const hold = h("button", { class: "button", type: "button", "aria-pressed": "false", onclick: () => { held = held ? null : state.events; hold.setAttribute("aria-pressed", held ? "true" : "false"); update(); } }, "Hold still");
  const buttons = KINDS.map(([value, label]) => h("button", { type: "button", "aria-pressed": value === kind ? "true" : "false", onclick: (click) => {
    kind = value;
    buttons.forEach((button) => button.setAttribute("aria-pressed", button === click.currentTarget ? "true" : "false"));
    update();
  } }, label));
  const fits = (event) => {
    if (kind && event.kind !== kind) return false;
    if (!asked) return true;
    const all = `${place(event)} ${event.peer ? place(event.peer) : ""} ${event.cause} ${event.stage ?? ""} ${words(event.kind, event.cause, event.stage).title}`;
    return all.toLowerCase().includes(asked);
  };
  const update = () => {
    const shown = (held ?? state.events).filter(fits).slice(0, 200);
    table.update(shown);
    table.element.hidden = shown.length === 0;
    empty.hidden = shown.length > 0;
    text(hold, held ? "Go on" : "Hold still");
    const live = held ? "Held still." : state.streaming ? "Live." : "Looked up every two seconds: the live stream is not open.";
    const lost = state.streamLost ? ` ${count(state.streamLost)} did not reach this page.` : "";
    text(note, `${live} The newest ${count(shown.length)} of ${count(state.coverage?.events_held ?? shown.length)} that the daemon holds.${lost} Each is one packet: a client that tries again appears again.`);
  };
  ask("api/v1/events?limit=500").then((answer) => {
    const known = new Set(state.events.map((event) => event.seq));
    state.events = [...state.events, ...answer.data.events.filter((event) => !known.has(event.seq))].sort((a, b) => b.seq - a.seq).slice(0, 500);
    update();
  }).catch(() => {});
  const element = h(
    "div", {},
    h("div", { class: "verdict" }, h("div", {}, h("h1", {}, "Events"), note)),
    h("section", { class: "card" },
      h("header", {}, h("div", { class: "tools" }, search, h("div", { class: "choices", role: "group", "aria-label": "Kind" }, buttons)), h("div", { class: "right" }, hold)),
      h("div", { class: "body wide" }, table.element, empty)),
  );
  return { title: "Events", page: "events", element, update, end() {} };
}
