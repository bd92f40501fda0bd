// The frame: which page is shown, the header that is always true, and keys.

import { h, icon, text, attribute } from "./dom.js";
import { clock, span } from "./format.js";
import { start, state, watch } from "./data.js";
import { loadWords } from "./words.js";
import { judgement, pill, trustPage } from "./trust.js";
import { overviewPage } from "./overview.js";
import { listenerPage } from "./listener.js";
import { eventsPage } from "./events.js";

const main = document.querySelector("#main");
const [trust, link, banner, about] = ["#trust", "#link", "#banner", "#about"].map((one) => document.querySelector(one));
let page = null;

function route() {
  const [, name = "", id = ""] = location.hash.split("/");
  page?.end();
  if (name === "listener" && id) page = listenerPage(decodeURIComponent(id));
  else if (name === "events") page = eventsPage();
  else if (name === "trust") page = trustPage();
  else page = overviewPage();
  document.title = page.title ? `${page.title} · netqueue` : "netqueue";
  main.replaceChildren(page.element);
  for (const entry of document.querySelectorAll(".top nav a")) attribute(entry, "aria-current", entry.dataset.page === page.page ? "page" : null);
  scrollTo(0, 0);
  update();
}

const LINKS = { wait: "connecting", live: "live", slow: "answers are late", gone: "no answer" };

function update() {
  pill(trust);
  attribute(link, "data-state", state.link);
  const words = state.link === "live" && !state.streaming ? "every 2 s" : LINKS[state.link];
  if (link.textContent !== words) link.replaceChildren(h("span", {}, words));
  const silent = state.link === "gone";
  banner.hidden = !silent;
  if (silent) {
    const since = state.lastAnswer ? ` What you see is from ${clock(state.lastAnswer)}.` : "";
    text(banner, `The daemon has not answered for ${span((Date.now() - (state.lastAnswer || state.started)) / 1000)}: ${state.error}.${since} This page keeps trying.`);
  }
  if (state.status) text(about, `netqueue ${state.status.version}, watching since ${clock(state.status.attached)}, ${state.status.mode}`);
  const now = judgement();
  if (!page?.title) document.title = now.state === "bad" ? `(!) netqueue` : "netqueue";
  page?.update();
}

const THEMES = [["auto", "half", "as the system"], ["light", "sun", "light"], ["dark", "moon", "dark"]];
const themeButton = document.querySelector("#theme");

function showTheme() {
  const [, sign, name] = THEMES.find(([value]) => value === window.netqueueTheme.get()) ?? THEMES[0];
  themeButton.replaceChildren(icon(sign, 17));
  themeButton.title = `Theme: ${name}. Press to change.`;
  themeButton.setAttribute("aria-label", themeButton.title);
}

function nextTheme() {
  const at = THEMES.findIndex(([value]) => value === window.netqueueTheme.get());
  window.netqueueTheme.set(THEMES[(at + 1) % THEMES.length][0]);
  showTheme();
  document.dispatchEvent(new Event("netqueue-theme"));
}

function key(event) {
  const typing = event.target.matches("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (location.hash.startsWith("#/listener/")) location.hash = "#/";
    return;
  }
  if (typing) return;
  const actions = {
    "/": () => main.querySelector("[data-search]")?.focus(),
    g: () => { location.hash = "#/"; },
    e: () => { location.hash = "#/events"; },
    s: () => { location.hash = "#/trust"; },
    t: nextTheme,
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
}

showTheme();
themeButton.addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("netqueue-theme")));
addEventListener("hashchange", route);
addEventListener("keydown", key);
await loadWords();
route();
watch(update);
start();
