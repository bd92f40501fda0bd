// Kernel counters that moved beside netqueue's own, by network namespace: silence about a listener is no all-clear.

import { h, sync, text } from "./dom.js";
import { span } from "./format.js";
import { state } from "./data.js";

/** Lines shown before somebody asks for more. */
const FIRST = 12;

/** What moved in the namespace of one listener, or in every namespace. */
export function besideOn(id) {
  const all = state.diagnosis?.beside ?? [];
  const own = id && state.listeners.find((one) => one.id === id);
  return own ? all.filter((one) => one.netns_inode === own.netns_inode) : id ? [] : all;
}

const key = (one) => `${one.netns_inode}.${one.netns_generation} ${one.counter}`;

function line() {
  const element = h("li");
  const update = ({ one, own }) => text(element, own ? `${one.sentence}.` : `${one.netns}: ${one.sentence}.`);
  return { element, update };
}

/** The card: of everything, or of the network namespace of one listener. */
export function besideCard({ id = null } = {}) {
  const list = h("ul", { class: "spikes" });
  const more = h("p", { class: "hint", hidden: true });
  const hint = h("span", { class: "hint" });
  const title = id ? "Also in this network namespace" : "Also counted by the kernel";
  const element = h("section", { class: "card span-12", "aria-label": title, hidden: true },
    h("header", {}, h("h2", {}, title), hint), h("div", { class: "body" }, list, more));
  const update = () => {
    const moved = besideOn(id);
    element.hidden = moved.length === 0;
    text(hint, `in the last ${span(state.diagnosis?.window.seconds ?? 0)}, not netqueue's to attribute`);
    sync(list, moved.slice(0, FIRST).map((one) => ({ one, own: Boolean(id) })), ({ one }) => key(one), line);
    more.hidden = moved.length <= FIRST;
    text(more, `And ${moved.length - FIRST} more: netqueue explain --json.`);
  };
  return { element, update };
}
