"""The site in a browser: ways through it, sorting, filters, dark, narrow, and what it loads."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_builders import make_record, make_table, recipe_at

from locbench.report.compare import compare
from locbench.report.site.pages import Site
from locbench.report.site.write import write_site

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed: pip install -e '.[browser]'"
)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver on the PATH"
)

ACCURACIES = {"DGL": 71.5, "BP": 93.0, "Head": 9.25}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    wide = make_table(
        {"test_acc": {name: ["90.00 ± 0.10"] * 2 for name in ("DGL", "BP", "PredSim", "Head")}},
        title="A title so long that it takes several lines of a narrow screen to show all of it",
    )
    other = make_table(id="other", paper="hpff", title="Another example")
    history: list[dict[str, float | None]] = [
        {"epoch": epoch, "train_loss": 2.0 / epoch, "test_acc": None} for epoch in (1, 2, 3)
    ]
    records = [
        make_record(recipe_at(wide, name), accuracy, history=history)
        for name, accuracy in ACCURACIES.items()
    ]
    found = [(table, compare(table, records)) for table in (wide, other)]
    write_site(Site(found, records, lambda record: Path(f"{record.key}.json")), out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, site: Path) -> Iterator[Any]:
    """The index in a window of a usual width; what it loads and says is looked at in the end."""
    screen(browser, 1280)
    browser.get_log("performance")
    browser.get((site / "index.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert any(url.endswith("/static/style.css") for url in urls)
    assert {url.partition(":")[0] for url in urls} <= {"file", "data"}


def screen(browser: Any, width: int, *, dark: bool = False) -> None:
    shape = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def until(condition: Callable[[], Any]) -> None:
    """Wait for what a page does a moment later, at most ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def link(page: Any, text: str) -> Any:
    return page.find_element("link text", text)


def shown(page: Any, column: int, table: str = "table") -> list[str]:
    """The texts of a column of a table's rows, of those that are shown."""
    rows = page.find_elements("css selector", f"{table} tbody tr")
    cells = [row.find_elements("css selector", "td, th")[column] for row in rows]
    return [cell.text for cell in cells if cell.is_displayed()]


def test_from_the_index_to_a_table_to_a_record_and_back(page: Any) -> None:
    link(page, "example").click()
    assert page.title.startswith("example")
    cell = page.find_element("css selector", "td.value a")
    cell.click()
    assert page.current_url.endswith("#runs-1-0")
    picture = page.find_element("css selector", "#runs-1-0 img")
    until(lambda: page.execute_script("return arguments[0].naturalWidth", picture))
    page.find_element("css selector", "#runs-1-0 figcaption a").click()
    assert "locbench rerun" in page.find_element("css selector", "pre").text
    page.find_element("partial link text", "example").click()
    assert page.title.startswith("example")
    link(page, "Tables").click()
    assert page.title.startswith("Tables")
    for _ in range(3):
        page.back()
    assert page.title.startswith("example")


def test_sorting_by_click_and_by_key(page: Any) -> None:
    link(page, "Records").click()
    head = page.find_element("xpath", "//th[starts-with(., 'Accuracy')]")
    head.click()
    until(lambda: shown(page, 7) == ["93.00", "71.50", "9.25"])
    assert head.get_attribute("aria-sort") == "descending"
    head.send_keys("\ue007")  # Enter
    until(lambda: shown(page, 7) == ["9.25", "71.50", "93.00"])
    assert head.get_attribute("aria-sort") == "ascending"


def test_filters_by_word_and_by_choice(page: Any) -> None:
    assert len(shown(page, 0, "#scores")) == 2
    find = page.find_element("css selector", "input[name=find]")
    find.send_keys("ANOTHER example")
    assert len(shown(page, 0, "#scores")) == 1
    assert page.find_element("css selector", "output").text == "1 of 2"
    find.send_keys(" nowhere")
    assert shown(page, 0, "#scores") == []
    find.clear()
    find.send_keys("example")
    page.find_element("xpath", "//option[. = 'HPFF']").click()
    assert [text.split()[0] for text in shown(page, 0, "#scores")] == ["other"]


def test_a_filter_hides_boards_without_rows_and_survives_sorting(page: Any) -> None:
    link(page, "Methods").click()
    page.find_element("xpath", "//select[@name='method']/option[. = 'head']").click()
    methods = shown(page, 0)
    assert methods
    assert set(methods) == {"head"}
    page.find_element("xpath", "//th[starts-with(., 'Paper')]").click()
    time.sleep(0.2)
    assert shown(page, 0) == methods
    page.find_element("css selector", "input[name=find]").send_keys("no such method")
    sections = page.find_elements("css selector", "section")
    assert [section for section in sections if section.is_displayed()] == []


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_system(page: Any, dark: bool) -> None:
    screen(page, 1280, dark=dark)
    link(page, "example").click()
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    colors = {
        name: page.execute_script(script, "body", name) for name in ("color", "background-color")
    }
    light = {name: sum(map(int, text[4:-1].split(","))) > 384 for name, text in colors.items()}
    assert light == {"color": dark, "background-color": not dark}
    assert (page.execute_script(script, "img.curves", "filter") != "none") is dark


def test_a_narrow_screen_never_scrolls_sideways(page: Any, site: Path) -> None:
    screen(page, 390)
    for path in sorted(site.rglob("*.html")):
        page.get(path.as_uri())
        size = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert size == [390, 390], path


def test_the_keyboard_reaches_the_content_first(page: Any) -> None:
    page.find_element("css selector", "body").send_keys("\ue004")  # Tab
    focused = page.switch_to.active_element
    assert focused.get_attribute("href").endswith("#main")
    assert focused.is_displayed()


def test_print_leaves_navigation_out(page: Any) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = [
        page.find_element("css selector", name).is_displayed() for name in ("header", "form.filter")
    ]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden == [False, False]
