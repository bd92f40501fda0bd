#!/usr/bin/env python3
"""The web page in a real Chromium, over a daemon on a recording: what it shows is what the API says.

Usage: click_path.py NETQUEUE RECORDING CHROMIUM [SCREENSHOTS]
"""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

NETQUEUE, RECORDING, CHROMIUM = sys.argv[1:4]
SCREENSHOTS = Path(sys.argv[4]) if len(sys.argv) > 4 else None
WORST = "0.0.0.0:8081"

passed = failed = 0


def headlines(verdicts):
    """The titles as the page must show them: those below their cause as its consequences."""
    led = lambda one: any(one["rule"] in cause["consequences"] and cause["subject"] == one["subject"] for cause in verdicts)
    return [("Consequence: " if led(one) else "") + one["title"] for one in verdicts]


def judge(what, good, detail=""):
    """Counts one check, and says what failed."""
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {what}: {detail}")


def number(text):
    return int(re.sub(r"[^0-9]", "", text) or 0)


def daemon():
    """A replay that has come to its end, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ["replay", RECORDING, "--speed", "max", "--web.listen-address", address]
    process = subprocess.Popen([NETQUEUE, *arguments], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "end of recording" in line:
            return process, f"http://{address}"
    sys.exit("the replay ended before its recording")


def api(base, path):
    with urllib.request.urlopen(base + path, timeout=10) as answer:
        return json.load(answer)["data"]


def shot(page, name):
    if SCREENSHOTS:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def place(one):
    host = f"[{one['addr']}]" if one["addr"] and ":" in one["addr"] else one["addr"]
    return f"{host}:{'*' if one['port'] is None else one['port']}"


def overview(page, base):
    listeners = api(base, "/api/v1/listeners")["listeners"]
    rows = page.locator(".listeners tbody tr")
    judge("every account is a row", rows.count() == len(listeners), f"{rows.count()} of {len(listeners)}")
    shown = {}
    for row in rows.all():
        cells = row.locator("td")
        name = row.locator(".who a").get_attribute("href").rsplit("/", 1)[1]
        shown[name] = (row.locator(".who a").inner_text(), number(cells.nth(3).locator("b").inner_text()), number(cells.nth(6).locator("b").inner_text()))
    for one in listeners:
        said = (place(one), one["drops"]["total"], one["resets"]["total"])
        judge(f"numbers of {place(one)}", shown.get(one["id"]) == said, f"{shown.get(one['id'])}, the API says {said}")
    judge("the first row dropped most", rows.first.locator(".who a").inner_text() == WORST)
    full = page.locator(".listeners .bar[data-state=full] .track")
    judge("a full queue is said to be full", "full" in (full.first.get_attribute("aria-label") or ""))

    verdicts = api(base, "/api/v1/diagnosis")["verdicts"]
    judge("the recording has verdicts", len(verdicts) > 3, len(verdicts))
    findings = page.locator(".finding")
    judge("the three worst verdicts", findings.count() == 3, findings.count())
    page.get_by_role("button", name=f"Show all {len(verdicts)}").click()
    titles = [one.text_content() for one in findings.locator("h3").all()]
    judge("every verdict, the worst first", titles == headlines(verdicts), titles)
    findings.first.locator("summary").click()
    advice = findings.first.locator("li").all_inner_texts()
    judge("what to do is told", set(verdicts[0]["advice"]) <= set(advice), advice)
    runbook = findings.first.get_by_role("link", name="Runbook").get_attribute("href")
    with urllib.request.urlopen(f"{base}/{runbook}", timeout=10) as answer:
        judge("its runbook is there", answer.status == 200 and b"## Fix" in answer.read(), runbook)
    shot(page, "verdicts")

    page.keyboard.press("/")
    page.keyboard.type("8084")
    judge("a search narrows", rows.count() == sum(one["port"] == 8084 for one in listeners), f"{rows.count()}")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Resets").click()
    most = max(listeners, key=lambda one: one["resets"]["total"])
    judge("sorted by resets", rows.first.locator(".who a").inner_text() == place(most))
    judge("the order is told", page.locator("th[aria-sort=descending]").inner_text().startswith("Resets"))
    page.get_by_role("button", name="With drops").click()
    judge("only those with drops", rows.count() == sum(one["drops"]["total"] > 0 for one in listeners))
    page.get_by_role("button", name="Everything").click()


def one_id(page):
    """The id of the listener whose page is open."""
    return page.url.rsplit("/", 1)[1]


def listener(page, base):
    page.get_by_role("link", name=WORST, exact=True).first.click()
    # The page draws what it has been told next, which need not be at once.
    page.locator("h1", has_text=WORST).wait_for()
    judge("the listener's page", page.locator("h1").inner_text() == WORST, page.locator("h1").inner_text())
    listeners = api(base, "/api/v1/listeners")["listeners"]
    one = max(listeners, key=lambda one: one["drops"]["total"])
    shown = {row.locator("code").inner_text(): number(row.locator(".number").inner_text()) for row in page.locator(".causes li").all()}
    said = {f"{part['cause']} / {part['stage']}": part["count"] for part in one["drops"]["by_cause"]}
    # Resets of its accepted connections are told with the listener.
    for part in one["resets"]["by_cause"] + one["connection_resets"]["by_cause"]:
        said[part["cause"]] = said.get(part["cause"], 0) + part["count"]
    judge("its causes", shown == said, f"{shown}, the API says {said}")
    judge("causes are explained", all(row.locator(".text").inner_text() for row in page.locator(".causes li").all()))
    said = headlines([one for one in api(base, "/api/v1/diagnosis")["verdicts"] if one["subject"]["listener"] == one_id(page)])
    titles = [title.text_content() for title in page.locator(".finding h3").all()]
    judge("its own verdicts", titles == said[:3] and titles, f"{titles}, the API says {said}")
    judge("its plots are drawn", page.locator(".plot canvas").count() >= 2)
    judge("its events", page.locator(".events tbody tr").count() > 0)
    shot(page, "listener")
    page.keyboard.press("Escape")
    page.wait_for_selector(".listeners")
    judge("Escape goes back", page.url.endswith("#/"))


def others(page, base):
    page.keyboard.press("s")
    page.wait_for_selector(".checks .check")
    balances = api(base, "/api/v1/status")["reconciliation"]
    said = [row["residual"] for space in balances for row in space["counters"].values()]
    shown = [number(cell.inner_text()) for cell in page.locator("td.residual.num").all()]
    judge("every residual", shown == [abs(value) for value in said], f"{shown}, the API says {said}")
    pill = page.locator("#trust").inner_text()
    judge("the pill", ("exact" in pill.lower()) != any(said), pill)
    page.keyboard.press("e")
    page.wait_for_selector(".events tbody tr")
    judge("the log of events", page.locator(".events tbody tr").count() == 200)
    page.get_by_role("button", name="Resets").click()
    kinds = {one.get_attribute("data-kind") for one in page.locator(".events .kind").all()}
    judge("only resets", kinds == {"reset"}, kinds)
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.keyboard.press("t")
    page.keyboard.press("t")
    judge("the theme is switched", page.evaluate(ground) != before)
    shot(page, "events-dark")
    page.evaluate("netqueueTheme.set('auto')")


def narrow(page):
    for width in (375, 800):
        page.set_viewport_size({"width": width, "height": 800})
        page.keyboard.press("g")
        page.wait_for_selector(".listeners")
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        judge(f"nothing sticks out at {width}", over <= 0, f"{over} pixels")
        shot(page, f"overview-{width}")
    page.set_viewport_size({"width": 1440, "height": 900})


def crowd(page):
    """The answer, multiplied to a thousand accounts on its way to the page."""

    def multiply(route):
        answer = route.fetch()
        body = answer.json()
        seed = body["data"]["listeners"]
        body["data"]["listeners"] = [{**seed[index % len(seed)], "id": str(index), "port": 1024 + index} for index in range(1000)]
        try:
            route.fulfill(response=answer, json=body)
        except Error:
            # The page, which asks again each second, gave this request up.
            pass

    page.route("**/api/v1/listeners", multiply)
    page.reload()
    more = page.get_by_role("button", name="Show more")
    more.wait_for(timeout=15000)
    rows = page.locator(".listeners tbody tr")
    judge("a thousand are not drawn at once", rows.count() == 60, rows.count())
    begun = time.monotonic()
    while more.is_visible() and time.monotonic() - begun < 20:
        more.click()
    judge("all of them on demand", rows.count() == 1000, rows.count())
    slow = page.evaluate("new Promise(done => { const t = performance.now(); requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - t))) })")
    judge("it still draws", slow < 1000, f"{slow} ms for a frame")
    page.unroute("**/api/v1/listeners")


def gone(page, process):
    process.kill()
    process.wait()
    page.wait_for_selector("#banner:not([hidden])", timeout=40000)
    judge("silence is told", "has not answered" in page.locator("#banner").inner_text())
    judge("old numbers stay", page.locator(".listeners tbody tr").count() > 0)
    judge("nothing claims to be exact", "No answer" in page.locator("#trust").inner_text())
    shot(page, "gone")


def main():
    process, base = daemon()
    errors, foreign = [], []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
            page.on("request", lambda request: None if request.url.startswith((base, "data:")) else foreign.append(request.url))
            page.goto(base)
            page.wait_for_selector(".listeners tbody tr")
            page.wait_for_selector(".events tbody tr")
            shot(page, "overview")
            overview(page, base)
            listener(page, base)
            others(page, base)
            narrow(page)
            crowd(page)
            page.reload()
            page.wait_for_selector(".listeners tbody tr")
            gone(page, process)
            judge("no script failed and nothing broke the policy", not errors, errors)
            judge("nothing was loaded from elsewhere", not foreign, foreign)
            browser.close()
    finally:
        process.kill()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
