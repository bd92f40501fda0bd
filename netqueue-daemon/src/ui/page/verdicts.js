// What is the matter and what to do about it, as the daemon's diagnosis says it; and sudden rises of drops.

import { attribute, h, icon, sync, text } from "./dom.js";
import { clock, count, place, plural, rate, span } from "./format.js";
import { state } from "./data.js";
import { words } from "./words.js";

/** Verdicts shown before somebody asks for more. */
const FIRST = 3;

/** What each impact is called, and how grave it looks. */
const IMPACTS = {
  never_served: ["bad", "never served"],
  reset: ["bad", "reset"],
  delayed: ["warn", "delayed"],
  unseen: ["warn", "may be unseen"],
  absorbed: ["good", "nobody harmed"],
};
const SIGNS = { bad: "cross", warn: "alert", good: "check" };

/** Verdicts and spikes on one listener, or on everything. */
export const verdictsOn = (id) => (state.diagnosis?.verdicts ?? []).filter((one) => !id || one.subject.listener === id);
export const spikesOn = (id) => (state.diagnosis?.spikes ?? []).filter((one) => !id || one.listener === id);

/** Whether the verdict is the consequence of one above it, whose text has its harm and its settings. */
const followsItsCause = ({ rule, because, subject }) => verdictsOn(subject.listener)
  .some((one) => one.rule === because?.rule && one.consequences?.includes(rule));

/** The worst verdict on connections that wait for accept() now, of one listener or of all. */
export const waitingOn = (id) => verdictsOn(id).find((one) => one.rule === "accept_queue_waiting" && one.ongoing);

const at = (subject) => (subject.addr ? place(subject) : subject.kind === "netqueue" ? "netqueue itself" : `namespace ${subject.netns ?? ""}`);

/** A list under a heading, and nothing where there is nothing to list. */
function section(title, tag = "ul") {
  const list = h(tag);
  const element = h("div", { hidden: true }, h("h4", {}, title), list);
  const update = (lines) => {
    element.hidden = lines.length === 0;
    sync(list, lines.map((line, index) => ({ line, index })), ({ index }) => index, () => {
      const item = h("li");
      return { element: item, update: ({ line }) => text(item, line) };
    });
  };
  return { element, update };
}

const figure = ({ value, unit }) => `${Number.isInteger(value) ? count(value) : value < 10 ? value.toFixed(2) : rate(value)} ${unit}`;

function finding(first, own) {
  const [state, impact] = IMPACTS[first.impact] ?? ["warn", first.impact];
  const [title, summary, because, clients, affected, sure] = ["h3", "p", "p", "p", "span", "span"].map((tag) => h(tag));
  because.className = "because";
  const subject = first.subject.listener && !own
    ? h("a", { class: "mono", href: `#/listener/${encodeURIComponent(first.subject.listener)}` })
    : h("span", { class: "mono" });
  const process = h("span", { class: "quiet" });
  const [set, todo, check, missing] = [section("Set"), section("Do"), section("Then look at"), section("Not known, and would make this surer")];
  const facts = h("dl", { class: "numbers" });
  const links = h("p", { class: "links" },
    h("a", { href: first.runbook.replace(/^\//, ""), target: "_blank", rel: "noopener" }, "Runbook"),
    first.events && h("a", { href: first.events.replace(/^\//, ""), target: "_blank", rel: "noopener" }, "Its events, as JSON"));
  const element = h("article", { class: "finding", "data-state": state },
    h("div", { class: "line" }, h("span", { class: "impact" }, icon(SIGNS[state], 13), h("span", {}, impact)), affected, subject, process, sure),
    title, summary, because, clients,
    h("details", {}, h("summary", {}, "What to do, and the numbers it rests on"), set.element, todo.element, check.element, facts, missing.element, links));
  affected.className = "affected";
  sure.className = "sure";
  clients.className = "quiet";
  const update = (verdict) => {
    text(affected, `${count(verdict.affected)} affected`);
    text(sure, `${verdict.ongoing === false ? "over, " : ""}${verdict.confidence} confidence`);
    text(subject, own ? "" : at(verdict.subject));
    const { process: owner } = verdict.subject;
    text(process, owner && !own ? `${owner.name} (${owner.pid})` : "");
    const led = followsItsCause(verdict);
    attribute(element, "data-consequence", led ? "" : null);
    text(title, `${led ? "Consequence: " : ""}${verdict.title}`);
    text(summary, verdict.summary);
    because.hidden = !verdict.because || led;
    text(because, verdict.because ? `Because: ${verdict.because.summary}` : "");
    text(clients, `Clients see: ${verdict.clients_see}.`);
    set.update(verdict.knobs.map((knob) => `${knob.name}${knob.current ? ` from ${knob.current}` : ""} to ${knob.proposed}: ${knob.set_by}`));
    todo.update(verdict.advice);
    check.update(verdict.check_next);
    missing.update(verdict.missing);
    sync(facts, verdict.evidence.flatMap((fact) => [["dt", fact], ["dd", fact]]), ([tag, fact]) => tag + fact.name, ([tag]) => {
      const cell = h(tag);
      return { element: cell, update: ([, fact]) => text(cell, tag === "dt" ? fact.name.replaceAll("_", " ") : figure(fact)) };
    });
  };
  return { element, update };
}

function spikeLine(first) {
  const element = h("li");
  const update = (spike) => {
    attribute(element, "data-state", spike.active ? "bad" : "quiet");
    const why = spike.cause === "any" ? "all drops" : words("drop", spike.cause, "syn").title.replace(/ at the SYN.*$/i, "");
    const whose = first.addr ? place(first) : `namespace ${first.netns}`;
    const long = span((Date.parse(spike.last_drop) - Date.parse(spike.started)) / 1000);
    const over = spike.active ? `since ${clock(spike.started)}` : `${clock(spike.started)}, for ${long}`;
    text(element, `${spike.active ? "Spike now" : "Spike"}: ${whose}, ${why}: ${plural(spike.drops, "drop")} ${over}, ${count(spike.peak_per_second)} in the worst second, ${spike.clients.at_least ? "at least " : ""}${plural(spike.clients.connections, "client")}.`);
  };
  return { element, update };
}

/** The card: of everything, or `own` of one listener. */
export function verdictCard({ id = null } = {}) {
  let all = false;
  const spikes = h("ul", { class: "spikes" });
  const list = h("div", { class: "findings" });
  const more = h("button", { class: "button", type: "button", onclick: () => { all = true; update(); } });
  const moreBox = h("div", { class: "more", hidden: true }, more);
  const element = h("section", { class: "card span-12", "aria-label": "What is the matter", hidden: true },
    h("header", {}, h("h2", {}, "What is the matter"), h("span", { class: "hint" }, "of the last quarter of an hour, the worst for clients first")),
    h("div", { class: "body" }, spikes, list), moreBox);
  const update = () => {
    const verdicts = verdictsOn(id);
    const rises = spikesOn(id).filter((spike) => id || spike.scope === "listener");
    element.hidden = verdicts.length + rises.length === 0;
    spikes.hidden = rises.length === 0;
    sync(spikes, rises.slice(0, all ? undefined : FIRST), (spike) => spike.id, spikeLine);
    const shown = all ? verdicts : verdicts.slice(0, FIRST);
    sync(list, shown, (one) => `${one.rule} ${one.subject.kind} ${one.subject.listener ?? one.subject.netns ?? ""}`, (one) => finding(one, Boolean(id)));
    moreBox.hidden = shown.length === verdicts.length;
    text(more, `Show all ${count(verdicts.length)}`);
  };
  return { element, update };
}
