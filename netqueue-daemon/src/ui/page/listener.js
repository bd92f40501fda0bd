// One listener: who it is, how full, what it dropped and reset and why, and what happened when.

import { attribute, h, icon, sync, text } from "./dom.js";
import { ago, clock, count, place, plural, rate, wait } from "./format.js";
import { ask, rateNow, state } from "./data.js";
import { plot, queueBar } from "./charts.js";
import { eventTable } from "./events.js";
import { mood } from "./overview.js";
import { besideCard } from "./beside.js";
import { verdictCard, waitingOn } from "./verdicts.js";
import { look, words } from "./words.js";

/** Causes with their counts, shares and meanings. */
function causeList(kind) {
  const list = h("ol", { class: "causes" });
  const nothing = h("p", { class: "quiet" }, kind === "drop" ? "Nothing was dropped." : "No reset was sent.");
  const make = (part) => {
    const known = words(kind, part.cause, part.stage);
    const [colour, pattern] = look(kind, part.cause, part.stage);
    const number = h("span", { class: "number" });
    const share = h("span", { class: "share" });
    const fill = h("i");
    const element = h("li", {},
      h("div", { class: "line" }, h("span", { class: "name" }, known.title), h("code", {}, part.stage ? `${part.cause} / ${part.stage}` : part.cause), number, share),
      h("div", { class: "meter", "data-c": colour, "data-p": pattern }, fill),
      h("p", { class: "text" }, known.meaning, " ", known.look && h("em", {}, `Look at: ${known.look}`)));
    const update = ({ count: now, of }) => {
      text(number, count(now));
      text(share, `${Math.round((now / of) * 100)} %`);
      fill.style.transform = `scaleX(${now / of})`;
    };
    return { element, update };
  };
  const element = h("div", {}, list, nothing);
  const update = (total) => {
    const parts = [...total.by_cause].sort((a, b) => b.count - a.count).map((part) => ({ ...part, of: total.total }));
    sync(list, parts, (part) => `${part.cause} ${part.stage ?? ""}`, make);
    nothing.hidden = parts.length > 0;
  };
  return { element, update };
}

/** What the newest numbers say, in a sentence or two. */
function sentence(listener) {
  const now = rateNow(listener.id, "drops");
  const resets = rateNow(listener.id, "resets");
  const top = [...listener.drops.by_cause].sort((a, b) => b.count - a.count)[0];
  const known = top && words("drop", top.cause, top.stage);
  if (now > 0) return { state: "bad", text: `Dropping ${rate(now)} packets a second. ${known ? known.meaning : ""}` };
  const waits = waitingOn(listener.id);
  if (waits) return { state: "bad", text: waits.summary };
  if (listener.drops.total > 0) return { state: "warn", text: `Not dropping now; ${plural(listener.drops.total, "packet")} dropped since netqueue attached. ${known ? `Mostly: ${known.title.toLowerCase().replace("syn", "SYN").replace("ack", "ACK")}.` : ""}` };
  const reset = [...listener.resets.by_cause].sort((a, b) => b.count - a.count)[0];
  if (reset) return { state: resets > 0 ? "warn" : "good", text: `Nothing dropped. ${plural(listener.resets.total, "reset")} sent${resets > 0 ? `, ${rate(resets)} a second now` : ""}. ${words("reset", reset.cause, null).meaning}` };
  const taken = [...(listener.connection_resets?.by_cause ?? [])].sort((a, b) => b.count - a.count)[0];
  if (taken) return { state: "warn", text: `No drop. ${plural(listener.connection_resets.total, "reset")} on its accepted connections. ${words("reset", taken.cause, null).meaning}` };
  if (listener.closed) return { state: "good", text: "Closed. Nothing was dropped and nothing was reset while it was open." };
  return { state: "good", text: "Nothing was dropped and no reset was sent since netqueue attached." };
}

/** Rates between samples, for a plot. */
function rates(samples, what) {
  const [times, values] = [[], []];
  for (let index = 1; index < samples.length; index += 1) {
    const [before, now] = [samples[index - 1], samples[index]];
    times.push(now.t / 1000);
    values.push(Math.max(0, now[what] - before[what]) / ((now.t - before.t) / 1000));
  }
  return [times, values];
}

const card = (span, title, hint, ...body) =>
  h("section", { class: `card span-${span}` }, h("header", {}, h("h2", {}, title), hint && h("span", { class: "hint" }, hint)), h("div", { class: "body" }, body));

function pairs() {
  const list = h("dl", { class: "pairs" });
  const update = (entries) => {
    const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
    sync(list, shown.flatMap(([name, value]) => [["dt", name, name], ["dd", name, value]]), ([tag, name]) => tag + name, ([tag]) => {
      const element = h(tag);
      return { element, update: ([, , value]) => text(element, String(value)) };
    });
    return shown.length > 0;
  };
  return { element: list, update };
}

/** The page. */
export function listenerPage(id) {
  const mark = h("span", { class: "mark" });
  const [title, said] = [h("h1", { class: "address" }), h("p")];
  const facts = h("div", { class: "facts" });
  const gone = h("div", { class: "notice", hidden: true });
  const [acceptBar, synBar] = [queueBar({ big: true, over: 1 }), queueBar({ big: true })];
  const [acceptText, synText] = [h("p", { class: "hint" }), h("p", { class: "hint" })];
  const drops = causeList("drop");
  const resets = causeList("reset");
  const [handshakes, counters, limits, traffic, owners] = [pairs(), pairs(), pairs(), pairs(), pairs()];
  const matter = verdictCard({ id });
  const beside = besideCard({ id });
  const events = eventTable({ own: true });
  const noEvents = h("p", { class: "quiet" }, "None in the window that is held.");
  const plots = {
    flow: plot({ label: "Drops and resets per second over the last minutes", series: [{ label: "drops /s", token: "c1", fill: true }, { label: "resets /s", token: "c3", dash: 1 }], step: true }),
    depth: plot({ label: "Length of the accept queue over the last minutes", series: [{ label: "waiting for accept()", token: "c4", fill: true }, { label: "limit", token: "c7", dash: 1 }], unit: (value) => count(Math.round(value)), whole: true }),
  };
  const queues = [card(6, "Accept queue", "finished handshakes that wait for accept()", acceptBar.element, acceptText), card(6, "SYN queue", "handshakes under way", synBar.element, synText)];
  const depthCard = card(6, "Accept queue over time", "as seen with each answer", plots.depth.element);
  const handshakeCard = card(6, "What became of dropped final ACKs", null, handshakes.element);
  const limitsCard = card(6, "Limits", "what makes the queue as long as it is", limits.element);
  const trafficCard = card(6, "Traffic and waiting", null, traffic.element);
  const ownerCard = card(6, "Owner", null, owners.element);
  const dropCard = card(6, "Dropped, by cause", "packets, not clients: who tries again counts again", drops.element);
  const resetCard = card(6, "Resets sent, by cause", null, resets.element);
  const content = h("div", {},
    h("div", { class: "verdict" }, mark, h("div", {}, title, said)),
    facts,
    h("div", { class: "grid" },
      matter.element, beside.element, queues, card(6, "Drops and resets per second", null, plots.flow.element), depthCard,
      dropCard, resetCard,
      trafficCard, limitsCard, ownerCard, handshakeCard,
      card(6, "Its part of the kernel's counters", "what these add to /proc/net/netstat and snmp", counters.element),
      h("section", { class: "card span-12" }, h("header", {}, h("h2", {}, "What happened"), h("span", { class: "hint" }, "newest first")), h("div", { class: "body wide" }, events.element, noEvents))));
  const element = h("div", {}, h("div", { class: "crumb" }, h("a", { href: "#/" }, "← All listeners")), gone, content);
  let older = [];
  let drawn = 20;
  const more = h("button", { class: "button", type: "button", onclick: () => { drawn += 80; update(); } });
  const moreBox = h("div", { class: "more", hidden: true }, more);
  content.lastChild.lastChild.append(moreBox);

  const update = () => {
    const listener = state.listeners.find((one) => one.id === id);
    content.hidden = !listener;
    gone.hidden = Boolean(listener) || !state.status;
    if (!listener) {
      text(gone, state.status ? `netqueue knows no account ${id}. Ids are given anew when the daemon starts; listeners that have been closed are kept for a while only.` : "");
      return;
    }
    content.classList.toggle("stale", state.link === "gone");
    document.title = `${place(listener)} · netqueue`;
    const verdict = sentence(listener);
    if (mark.dataset.state !== verdict.state) mark.replaceChildren(icon({ good: "check", warn: "alert", bad: "alert" }[verdict.state], 20));
    attribute(mark, "data-state", verdict.state);
    text(title, place(listener));
    text(said, verdict.text);
    const known = [
      ["Process", listener.process || (listener.kind === "listener" ? "not known" : null)],
      ["Kind", listener.kind], ["Namespace", listener.netns], ["Family", listener.listener?.family?.replaceAll("_", " ") ?? listener.family], ["Id", listener.id],
      ["First charged", listener.first_seen && clock(listener.first_seen)], ["Last", listener.last_seen && ago(listener.last_seen, Date.parse(state.status.taken))],
    ].filter(([, value]) => value);
    sync(facts, known, ([name]) => name, ([name]) => {
      const value = h("span");
      return { element: h("span", {}, h("b", {}, name), value), update: ([, now]) => text(value, now) };
    });
    matter.update();
    beside.update();
    const { accept_queue: accept, syn_queue: syn } = listener;
    queues.forEach((box) => { box.hidden = !accept && !syn; });
    acceptBar.update(accept, listener.traffic?.accept_queue_peak?.last_minute);
    synBar.update(syn, listener.traffic?.syn_queue_peak?.last_minute);
    if (accept) text(acceptText, `${count(accept.length)} wait, ${count(accept.limit + 1)} fit (limit ${count(accept.limit)}, and one more). ${accept.length > accept.limit ? "Full: new clients are dropped." : ""}`);
    if (syn) text(synText, `${count(syn.length)} under way, limit ${count(syn.limit)}.`);
    const samples = state.history.get(id) ?? [];
    const [times, dropped] = rates(samples, "drops");
    plots.flow.update(times, [dropped, rates(samples, "resets")[1]]);
    depthCard.hidden = !accept;
    if (accept) plots.depth.update(samples.map((point) => point.t / 1000), [samples.map((point) => point.accept), samples.map(() => accept.limit)]);
    // An empty half beside a long list helps nobody.
    const [anyDrops, anyResets] = [listener.drops.total > 0, listener.resets.total > 0];
    dropCard.hidden = anyResets && !anyDrops;
    resetCard.hidden = anyDrops && !anyResets;
    for (const [box, alone] of [[dropCard, resetCard.hidden], [resetCard, dropCard.hidden]]) box.className = `card span-${alone ? 12 : 6}`;
    drops.update(listener.drops);
    resets.update(listener.resets.total ? listener.resets : listener.connection_resets ?? listener.resets);
    const { handshakes: shakes = {}, ghosts = {} } = listener;
    handshakeCard.hidden = !(shakes.suspended || ghosts.total);
    handshakes.update([
      ["Kept, may still get in", shakes.suspended ? `${count(shakes.suspended)}: ${count(shakes.recovered)} got in later, ${count(shakes.ended)} ended by a reset, ${count(shakes.given_up)} were given up by the client, ${count(shakes.timed_out)} by the listener, ${count(shakes.expired)} of which were reset when they sent data, ${count(shakes.unresolved)} may still be under way` : null],
      ["Forgotten (ghosts)", ghosts.total ? `${count(ghosts.total)} by cookie: ${count(ghosts.live)} seem connected to the client still, ${count(ghosts.recovered)} sent data and were let in, ${count(ghosts.ended)} sent data and were reset` : null],
    ]);
    for (const [box, list, entries] of [[limitsCard, limits, limitPairs], [trafficCard, traffic, trafficPairs], [ownerCard, owners, ownerPairs]]) box.hidden = !list.update(entries(listener));
    counters.update(Object.entries(listener.counters ?? {}).map(([name, value]) => [name, count(value)]));
    const shown = new Map([...older, ...state.events.filter((event) => event.listener === id)].map((event) => [event.seq, event]));
    const rows = [...shown.values()].sort((a, b) => b.seq - a.seq);
    events.update(rows.slice(0, drawn));
    moreBox.hidden = rows.length <= drawn;
    text(more, `Show more (${count(Math.max(0, rows.length - drawn))})`);
    events.element.hidden = rows.length === 0;
    noEvents.hidden = rows.length > 0;
  };
  ask(`api/v1/events?limit=100&listener=${encodeURIComponent(id)}`).then((answer) => { older = answer.data.events; update(); }).catch(() => {});
  const onTheme = () => Object.values(plots).forEach((one) => one.recolour());
  document.addEventListener("netqueue-theme", onTheme);
  return { title: "Listener", page: "overview", element, update, end: () => { document.removeEventListener("netqueue-theme", onTheme); Object.values(plots).forEach((one) => one.end()); } };
}

/** What has to change for the queue to become longer. */
const BINDS = {
  listen_argument: "what the program asked for: raise its backlog setting",
  somaxconn: "net.core.somaxconn: raise it, then the program has to listen again (reload or restart)",
  earlier_somaxconn: "net.core.somaxconn as it was when the program began to listen: it is higher now, so a reload or restart is enough",
  listen_call: "the program's backlog or somaxconn at its listen(): not known, the program began to listen before netqueue watched",
  unknown: "not known",
};

/** What went through the listener and how long it waited. */
function trafficPairs({ traffic }) {
  if (!traffic) return [];
  const { accept_wait_seconds: waited, accept_queue_peak: peak } = traffic;
  return [
    ["Connections", `${count(traffic.established)} entered the accept queue, ${traffic.accepted === null ? "how many were taken out is not observed" : `${count(traffic.accepted)} were taken out`}${traffic.abandoned ? `, ${count(traffic.abandoned)} were abandoned in it` : ""}`],
    ["Wait for accept()", waited?.count ? `half within ${wait(waited.p50)}, 90 of 100 within ${wait(waited.p90)}, 99 within ${wait(waited.p99)}` : "not measured"],
    ["Longest accept queue", peak && `${count(peak.last_minute)} in the last minute`],
    ["SYN-ACKs sent again", count(traffic.synack_retransmits)],
  ];
}

/** What bounds the queues. */
function limitPairs({ listener: socket }) {
  if (!socket?.limit) return [];
  const { limit } = socket;
  const sysctls = Object.entries(limit.sysctls ?? {}).filter(([, value]) => value !== null);
  return [
    ["In force", limit.backlog === null ? null : `${count(limit.backlog)}; the queue holds one more`],
    ["What binds", BINDS[limit.limited_by] ?? limit.limited_by],
    ["listen() asked for", limit.listen_argument],
    ["somaxconn at that time", limit.somaxconn_then],
    ...sysctls.map(([name, value]) => [`${name}, now`, value]),
  ];
}

const HINDRANCES = {
  frozen: "frozen (cgroup freezer, e.g. docker pause)",
  stopped: "stopped by a signal",
  traced: "stopped by a tracer",
  out_of_files: "no descriptor left: accept() fails with EMFILE",
  oom_killed: "a process of its cgroup was OOM-killed",
  throttled: "throttled by its CPU quota",
  blocked: "blocked in the kernel (state D)",
  cpu_pressure: "short of CPU",
};

/** What its owners did when connections last waited for accept(). */
function examinedPairs(state) {
  if (!state) return [];
  const found = (state.hindrances ?? []).map((hindrance) => HINDRANCES[hindrance] ?? hindrance).join("; ");
  const files = (state.processes ?? []).filter((process) => process.open_files !== null && process.file_limit !== null);
  return [
    ["When clients last waited", `${new Date(state.at).toLocaleString()}: ${found || "nothing kept it from accepting"}`],
    ...files.map((process) => [`Open files of ${process.pid}`, `${count(process.open_files)} of ${count(process.file_limit)}`]),
    ["CPU quota", state.cpu_quota === null ? null : `${state.cpu_quota} CPU, used up in ${count(state.throttled_periods ?? 0)} of ${count(state.cpu_periods ?? 0)} periods`],
  ];
}

/** Whose it is. */
function ownerPairs({ listener: socket, owner_state: state }) {
  if (!socket) return [];
  const owners = (socket.owners ?? []).flatMap((owner) => [
    [`${owner.comm} (${owner.pid})${owner.ended ? ", ended" : ""}`, [owner.executable, owner.unit, owner.container && `container ${owner.container.slice(0, 12)}`, owner.pod && `pod ${owner.pod}`].filter(Boolean).join(" · ") || "holds the socket"],
  ]);
  const group = socket.reuseport;
  return [
    ...owners,
    ...examinedPairs(state),
    ["Group", group && `SO_REUSEPORT, member ${group.member} of ${group.members}: the kernel gives each its share of clients`],
    ["Listening since", socket.opened && new Date(socket.opened).toLocaleString()],
    ["Closed", socket.closed && new Date(socket.closed).toLocaleString()],
    ...(socket.unknown ?? []).filter(({ what }) => ["owners", "executable", "opened"].includes(what)).map(({ what, detail }) => [`${what}: not known`, detail]),
  ];
}
