"""The console in a real browser: live pages, decisions, keys, narrow screens, both themes, and without JavaScript."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from penstock_browser import Sight, browser  # noqa: F401 - the fixture
from penstock_console import gate, pipeline, source, stage_of, waits, zipped
from penstock_fleet import fleet
from penstock_waiting import until

from penstock.console.web import Console

pytestmark = pytest.mark.needs("chromium")

WIDTHS = (320, 390, 1440)


@pytest.fixture
def see(live, world, browser):  # noqa: F811
    """`see(**context)`: a signed-in page; at the end nothing may have been logged as an error in any."""
    opened: list[Sight] = []

    def open_page(*, signed_in=True, **context):
        sight = Sight(browser, live.url, **context)
        opened.append(sight)
        return sight.sign_in() if signed_in else sight

    yield open_page
    for sight in opened:
        sight.context.close()
    assert [wrong for sight in opened for wrong in sight.wrong] == []


def test_a_link_of_user_add_leads_to_a_password_and_into_the_console(live, see):
    iam = live.client("iam")
    iam.create_user(UserName="newcomer")
    iam.attach_user_policy(UserName="newcomer", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    link = live.client("penstock").create_sign_in_link(userName="newcomer")["url"]
    page = see(signed_in=False).page
    page.goto(link)
    page.get_by_label("Password", exact=True).fill("correct horse")
    page.get_by_label("Repeat the password").fill("correct horse")
    page.get_by_role("button", name="Set password and sign in").click()
    page.wait_for_url("**/console/pipelines")


def test_a_run_goes_live_and_is_approved_in_the_page(live, world, see):
    live.client("s3").put_object(Bucket="releases", Key="seen.zip", Body=zipped(index__html="one"))
    pipeline(
        live, "seen", world, source("seen.zip"), gate("Ask", "Release", CustomData="Let it out?"), gate("After", "Look")
    )
    until(lambda: waits(live, "seen", "Ask"))
    sight = see()
    page = sight.go("pipelines/seen")
    page.locator("#stage-Ask[data-state=Waiting]").wait_for()
    page.get_by_role("link", name="Review").click()
    page.get_by_role("heading", name="Let it out?").wait_for()
    page.get_by_label("Comment").fill("Looked at it.")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved. The action has passed.").wait_for()
    page.locator("#stage-After[data-state=Waiting]").wait_for()
    assert "said=" not in page.url
    # Somebody else releases; the page shows it without being asked.
    live.client("codepipeline").start_pipeline_execution(name="seen")
    page.locator("#run-2").wait_for()
    page.locator("#stage-Ask .tile[data-state=Waiting]").wait_for()
    # A dialog that is open is left alone, and takes the focus back to its button.
    page.get_by_role("button", name="Close the transition into After").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("Freeze")
    live.client("codepipeline").start_pipeline_execution(name="seen")
    page.locator("#run-3").wait_for()
    assert page.get_by_role("dialog").get_by_label("Reason").input_value() == "Freeze"
    page.get_by_role("button", name="Close the transition", exact=True).click()
    page.locator("#gate-After[data-state=Closed]").wait_for()
    assert not stage_of(live, "seen", "After")["inboundTransitionState"]["enabled"]
    page.get_by_role("button", name="Stop run 3").click()
    page.get_by_role("dialog").get_by_text("Stop and abandon").click()
    page.get_by_role("button", name="Stop run 3").last.click()
    page.locator("#run-3").get_by_text("Stopped").wait_for()


def test_a_builds_log_grows(see, builds):
    id_ = builds.start(21)
    builds.say(id_, *(f"line {number}" for number in range(80)))
    sight = see()
    page = sight.go(f"builds/{id_}")
    page.locator("#L80").wait_for()
    builds.say(id_, "[Container] 2026/11/21 06:00:01.000000 Entering phase POST_BUILD", "\x1b[31mnearly there\x1b[0m")
    page.locator("#lines-POST_BUILD .a-red", has_text="nearly there").wait_for()
    log = page.locator("#log")
    until(lambda: log.evaluate("el => el.scrollHeight - el.scrollTop - el.clientHeight") < 40)
    log.evaluate("el => { el.scrollTop = 0; el.dispatchEvent(new WheelEvent('wheel', { deltaY: -9 })); }")
    builds.say(id_, "more")
    page.locator("#L83").wait_for(state="attached")
    assert log.evaluate("el => el.scrollTop") == 0
    page.get_by_label("Search the log").fill("nearly")
    page.get_by_text("1 of 1").wait_for()
    builds.end(id_, "FAILED", contexts=[{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "exit status 2"}])
    page.locator("#build-state").get_by_text("Failed").wait_for()
    page.locator("#failure").get_by_text("exit status 2").wait_for()


@pytest.fixture(scope="module")
def hosts(live, tmp_path_factory):
    """Two hosts and their group; the tests of this file release to them in turn."""
    with fleet(live, tmp_path_factory.mktemp("fleet"), "web-a1", "web-a2") as hosts:
        yield hosts


def test_a_deployments_hosts_change(see, hosts):
    id_ = hosts.release("one", printed="warming up")
    until(lambda: hosts.status(id_) == "InProgress")
    sight = see()
    page = sight.go(f"deployments/{id_}")
    page.locator("#host-hook").get_by_text("warming up").wait_for()
    page.locator("#budget").get_by_text("1 of 2 must stay healthy").wait_for()
    pixels = "el => el.toDataURL()"
    before = page.locator("#host-grid").evaluate(pixels)
    hosts.let_go("one")
    page.locator("#deployment-state").get_by_text("Succeeded").wait_for()
    page.locator("#host-table [data-state=Succeeded]").nth(1).wait_for()
    until(lambda: page.locator("#host-grid").evaluate(pixels) != before)
    page.locator("#host-grid").focus()
    page.keyboard.press("ArrowRight")
    assert "web-a" in page.locator("#host-said").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**?host=web-a*")
    _fits(page)
    _accessible(page)


def test_a_page_of_a_deployment_that_waits_fills_itself(see, hosts):
    """Opened before its hosts are chosen, it ends as a page that is opened afterwards."""
    first = hosts.release("two")
    until(lambda: hosts.status(first) == "InProgress")
    second = hosts.release("three", printed="here I am")
    assert hosts.status(second) == "Queued"
    page = see().go(f"deployments/{second}")
    page.get_by_text("Hosts are chosen when the deployment starts.").wait_for()
    assert not page.locator("#the-host").is_visible()
    hosts.let_go("two")
    page.locator("#host-hook").get_by_text("here I am").wait_for()
    hosts.let_go("three")
    page.locator("#deployment-state").get_by_text("Succeeded").wait_for()
    page.locator("#host-steps [data-state=Succeeded]").get_by_text("ApplicationStart").wait_for()
    _fits(page)
    _accessible(page)
    host = page.evaluate(_SHOWN)["host-h"]  # a page that is opened afterwards would begin with the first host
    afterwards = see().go(f"deployments/{second}?host={host}").evaluate(_SHOWN)
    until(lambda: page.evaluate(_SHOWN) == afterwards, why=lambda: (page.evaluate(_SHOWN), afterwards))


# Every element of a name that can be seen, with its text where that has no clock in it.
_SHOWN = """() => Object.fromEntries([...document.querySelectorAll("main [id]")].filter((el) => el.checkVisibility())
  .map((el) => [el.id, el.querySelector("time, [data-since]") ? "" : el.innerText]))"""


def _fits(page, widths=WIDTHS):
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{page.url} scrolls sideways by {wide} px at {width}"
        over = page.evaluate("""() => [...document.querySelectorAll(".table th, .table td")]
          .filter((el) => el.checkVisibility() && el.scrollWidth > el.clientWidth + 1 && getComputedStyle(el).overflow === "visible").map((el) => el.textContent)""")
        assert over == [], f"{page.url} has cells that lie over their neighbours at {width}"


# What may be said about a page without a library: names, labels, headings, unique ids, contrast.
_CHECKS = """() => {
  const wrong = [];
  const seen = (el) => el.checkVisibility({ visibilityProperty: true });
  const name = (el) => (el.getAttribute("aria-label") || (el.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent || "").join(" ")
    || (el.labels && [...el.labels].map((label) => label.textContent).join(" ")) || el.textContent || el.title || "").trim();
  for (const el of document.querySelectorAll("a[href],button,summary,dialog,[role=img],[role=group],[role=log],canvas,nav,section[aria-labelledby]"))
    if ((seen(el) || el.matches("dialog")) && !name(el)) wrong.push(`no name: ${el.outerHTML.slice(0, 120)}`);
  for (const el of document.querySelectorAll("input:not([type=hidden]),select,textarea")) if (!name(el)) wrong.push(`no label: ${el.outerHTML.slice(0, 120)}`);
  const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) wrong.push(`id twice: ${id}`);
  for (const el of document.querySelectorAll("[aria-labelledby],[aria-describedby]"))
    for (const id of `${el.getAttribute("aria-labelledby") || ""} ${el.getAttribute("aria-describedby") || ""}`.split(" ").filter(Boolean))
      if (!document.getElementById(id)) wrong.push(`points to nothing: ${id}`);
  const heads = [...document.querySelectorAll("h1,h2,h3,h4")].filter((el) => el.closest("main") && !el.closest("dialog"));
  if (heads.filter((el) => el.matches("h1")).length !== 1) wrong.push("not one h1");
  heads.reduce((level, el) => { const own = Number(el.tagName[1]); if (own > level + 1) wrong.push(`level skipped at ${el.textContent}`); return own; }, 0);
  for (const el of document.querySelectorAll(".main > *"))
    if (!el.offsetHeight && getComputedStyle(el).display !== "none" && getComputedStyle(el).position !== "absolute") wrong.push(`a gap around nothing: ${el.outerHTML.slice(0, 80)}`);
  for (const el of document.querySelectorAll("th")) if (!el.scope) wrong.push(`no scope: ${el.textContent}`);
  for (const el of document.querySelectorAll("[style]")) if (!el.matches("canvas, main")) wrong.push(`style: ${el.outerHTML.slice(0, 80)}`);
  for (const el of document.querySelectorAll(".table-wrap")) if (el.scrollWidth > el.clientWidth && el.tabIndex < 0) wrong.push("a table that scrolls has no focus");
  const parse = (text) => { const canvas = parse.c ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }); canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const ground = (el) => { for (let at = el; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
  for (const el of document.querySelectorAll("main *")) {
    if (![...el.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !seen(el) || el.closest("svg,.sr,dialog,canvas,[disabled]")) continue;
    const [a, b] = [light(parse(getComputedStyle(el).color)), light(ground(el))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.45) wrong.push(`contrast ${((a + .05) / (b + .05)).toFixed(2)}: ${el.outerHTML.slice(0, 100)}`);
  }
  return wrong;
}"""


def _accessible(page):
    assert page.evaluate(_CHECKS) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_and_can_be_used_by_all(live, see, builds, theme):
    sns = live.client("sns")
    topic = sns.create_topic(Name="deploys-of-the-shop-" + "x" * 120)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=f"https://hooks.example.com/{'y' * 120}")
    probe = {"url": f"https://shop.example.com/{'z' * 120}"}
    live.client("penstock").put_metric_source(sourceName="shop", http=probe, enabled=False)
    live.client("cloudwatch").put_metric_alarm(
        AlarmName="slow", Namespace="Shop", MetricName="Latency" * 30, Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
    )  # fmt: skip
    live.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Latency" * 30, "Value": 3}])
    pattern = json.dumps({"source": ["s" * 200], "detail": {"<b>": ["t" * 300]}})
    events, bus = live.client("events"), topic.replace(":sns:", ":events:").rpartition(":")[0] + ":event-bus/default"
    events.put_rule(Name="r" * 64, EventPattern=pattern)
    events.put_targets(Rule="r" * 64, Targets=[{"Id": "t" * 64, "Arn": topic}])
    events.create_archive(ArchiveName=theme * 9, EventSourceArn=bus, EventPattern=pattern)
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush"}}
    made = events.create_connection(Name=theme * 12, AuthorizationType="API_KEY", AuthParameters=key)
    asks = {"InvocationEndpoint": f"https://hooks.example.com/{'y' * 120}", "HttpMethod": "POST"}
    events.create_api_destination(Name=theme * 12, ConnectionArn=made["ConnectionArn"], **asks)
    notice = live.client("codestar-notifications").create_notification_rule(
        Name=theme * 12, Resource=topic.replace(":sns:", ":codepipeline:").replace("deploys-of-the-", ""), DetailType="BASIC",
        EventTypeIds=["codepipeline-pipeline-pipeline-execution-failed"], Targets=[{"TargetType": "SNS", "TargetAddress": topic}],
    )["Arn"].rpartition("/")[2]  # fmt: skip
    logs = live.client("logs")
    group = f"/{theme}/" + "g" * 200
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s" * 200)
    now = live.app.clock.now()
    said = [{"timestamp": now, "message": json.dumps({"<b>": "m" * 900, "ms": 1})}]
    logs.put_log_events(logGroupName=group, logStreamName="s" * 200, logEvents=said)
    logs.put_query_definition(name=theme + "n" * 200, queryString="fields " + "f" * 200, logGroupNames=[group])
    query = logs.start_query(
        logGroupName=group, startTime=now // 1000 - 60, endTime=now // 1000 + 60, queryString="fields ms, @message, @logStream, @log"
    )["queryId"]  # fmt: skip
    until(lambda: logs.get_query_results(queryId=query)["status"] == "Complete")
    pointer = logs.get_query_results(queryId=query)["results"][0][-1]["value"]
    running = builds.start(31)
    builds.say(running, "\x1b[33mwarn\x1b[0m " + "x" * 400, "\x1b[2mdim\x1b[0m \x1b[36mcyan\x1b[0m \x1b[35mmagenta")
    failed = builds.start(32)
    builds.say(failed, "no")
    builds.end(failed, "FAILED", contexts=[{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "y" * 300}])
    sight = see(color_scheme=theme, reduced_motion="reduce")
    for path in (
        "pipelines", "pipelines/shop-web", "pipelines/shop-web/approvals/Approve/Release", "builds", f"builds/{running}",
        f"builds/{failed}", "deployments", "users", "users/jonas.lind", "delivery", "topics",
        f"topics/{topic.rpartition(':')[2]}", "metric-sources", "metric-sources/shop", "alarms",
        "alarms/alarm?name=slow", "rules", f"rules/{'r' * 64}", "archives", f"archives/{theme * 9}", "connections",
        f"connections/{theme * 12}", "notification-rules", f"notification-rules/{notice}",
        "insights", f"insights/{query}", f"insights/record?ptr={pointer}",
        f"insights/stream?group={group}&stream={next(iter(builds.logs))}&at={now}",
    ):  # fmt: skip
        page = sight.go(path)
        page.wait_for_load_state("load")
        _fits(page)
        _accessible(page)
    stranger = see(signed_in=False, color_scheme=theme, reduced_motion="reduce")
    _fits(stranger.go("login"))
    _accessible(stranger.page)


def test_a_value_is_shown_when_its_reader_asks(live, see):
    live.client("secretsmanager").create_secret(Name="shop/db", SecretString="hush-hush")
    page = see().go("secrets?q=shop")
    page.get_by_role("link", name="shop/db").click()
    page.get_by_role("heading", name="shop/db").wait_for()
    assert "hush-hush" not in page.content()
    page.get_by_role("button", name="Show the value").click()
    page.get_by_text("hush-hush").wait_for()
    _fits(page, (390,))
    _accessible(page)


def test_wide_content_moves_no_page(live, world, see, builds):
    """Eight stages, names as long as they may be, and text without a place to break it."""
    live.client("s3").put_object(Bucket="releases", Key="wide.zip", Body=zipped(index__html="one"))
    name = ("A-name-as-long-as-names-may-be." + "x" * 100)[:100]
    first = gate("Approve" + "-by-everybody" * 5, "Legal_counsel_of_the_whole_group_" + "y" * 60)
    pipeline(live, name, world, source("wide.zip"), first, *(gate(f"Stage{at}", "Look") for at in range(6)))
    pipeline(live, "wide-parallel", world, source("wide.zip"), first, mode="PARALLEL")
    stage, action = first["name"], first["actions"][0]["name"]
    until(lambda: waits(live, name, stage))
    id_ = builds.start(33, initiator="somebody-of-a-very-long-name-" + "z" * 60, resolvedSourceVersion="f" * 64)
    builds.say(id_, "no")
    sight = see()
    for path in (
        "pipelines",
        f"pipelines/{name}",
        "pipelines/wide-parallel",
        f"pipelines/{name}/approvals/{stage}/{action}",
        "builds",
        f"builds/{id_}",
    ):
        page = sight.go(path)
        page.wait_for_load_state("load")
        _fits(page, (*WIDTHS, 768, 1180, 1300, 1910))
        _accessible(page)
        # What a person decides on is readable to its end.
        cut = page.evaluate("""() => [...document.querySelectorAll(".tile__name, .stage__head h3, .stage__lock, .commits__msg, h1")]
          .filter((el) => el.checkVisibility() && el.scrollWidth > el.clientWidth + 1 && getComputedStyle(el).overflow !== "visible").map((el) => el.textContent)""")
        assert cut == []
    page = sight.go("builds")
    page.set_viewport_size({"width": 1440, "height": 800})
    box = page.locator("#list .table-wrap").evaluate("el => [el.scrollWidth, el.clientWidth]")
    assert box[0] <= box[1]  # one long name takes nothing from the other columns
    page.set_viewport_size({"width": 390, "height": 800})
    begin, end = _edges(page, 0), _edges(page, 10_000)
    plain = begin[0]
    # A shadow on the side that hides columns, and only there.
    assert [one == plain for one in (*begin, *end)] == [True, False, False, True]


def _edges(page, left):
    """Pictures of the left and the right edge of a list's first row, without its text, scrolled so far."""
    wrap = page.locator("#list .table-wrap")
    wrap.evaluate("(el, left) => { el.scrollLeft = left; el.firstElementChild.style.visibility = 'hidden'; }", left)
    box = wrap.bounding_box()
    assert box is not None
    sides = (box["x"] + 1, box["x"] + box["width"] - 2)
    return [page.screenshot(clip={"x": x, "y": box["y"] + 50, "width": 1, "height": 20}) for x in sides]


def test_a_form_sent_to_a_server_that_is_away_keeps_its_text(live, world, see):
    sight = see()
    page = sight.go("pipelines/shop-web/approvals/Approve/Release")
    page.get_by_label("Comment").fill("Looked at every line.")
    page.context.set_offline(True)
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("alert").get_by_text("nothing was sent").wait_for()
    assert page.get_by_label("Comment").input_value() == "Looked at every line."
    assert waits(live, "shop-web", "Approve")
    page.context.set_offline(False)
    sight.wrong.clear()  # the browser logs that it was offline


def test_a_failed_build_opens_where_it_failed(see, builds):
    id_ = builds.start(34)
    builds.say(
        id_,
        "[Container] 2026/11/21 06:00:01.000000 Entering phase BUILD",
        *(f"line {at}" for at in range(3000)),
        "error: here",
    )
    builds.end(id_, "FAILED", contexts=[{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "exit status 2"}])
    page = see(viewport={"width": 390, "height": 800}).go(f"builds/{id_}")
    log = page.locator("#log").bounding_box()

    def line_is_in_sight():
        at = page.locator(".line", has_text="error: here").bounding_box()
        return log["y"] <= at["y"] <= log["y"] + log["height"]

    until(line_is_in_sight)
    assert log["y"] < page.locator("#phases").bounding_box()["y"]  # on a phone the log comes first


def test_it_reads_without_javascript(see, world):
    sight = see(java_script_enabled=False)
    page = sight.go("pipelines/shop-web")
    assert page.get_by_text("waits for a decision in Approve").is_visible()
    page.get_by_role("link", name="Review").click()
    page.get_by_role("button", name="Approve").wait_for()
    page.get_by_label("Comment").fill("By hand")
    assert page.get_by_role("link", name="Skip to the page").count() == 1


def test_keys_focus_and_theme(see):
    sight = see()
    page = sight.go("pipelines/shop-web")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    outline = page.evaluate(
        "(({ outlineStyle, outlineWidth }) => `${outlineStyle} ${outlineWidth}`)(getComputedStyle(document.activeElement))"
    )
    assert outline == "solid 2px"
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keyboard shortcuts").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.keyboard.press("t")
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"  # the server's first paint knows it
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.matches('[data-step]')")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/console/builds")


def test_a_lost_connection_is_reported_and_made_up_for(live, see):
    sight = see()
    page = sight.go("pipelines/shop-web")
    page.locator("[data-live-state]", has_text=re.compile("^Live$")).wait_for()
    # A server that drains ends its streams; the page says so, keeps what it shows, and comes back.
    page.evaluate("""() => {
      const said = [];
      new MutationObserver(() => said.push(document.querySelector('[data-live-state]').textContent)).observe(document.querySelector('[data-live-state]'), { childList: true });
      window.said = said;
    }""")
    live.run(_drained(live))
    until(
        lambda: page.evaluate(
            "window.said.some((words) => words.startsWith('Reconnecting, shows')) && window.said.at(-1) === 'Live'"
        )
    )
    assert page.locator("#stage-Approve").is_visible()


async def _drained(live):
    """End the streams as a drain does, and allow new ones."""
    sites = (getattr(stop, "__self__", None) for stop in live.app.stops)
    streams = next(site for site in sites if isinstance(site, Console)).streams
    streams.stop()
    while streams._count:
        await asyncio.sleep(0.01)
    streams._stopped = asyncio.Event()
