"""Reports as a reader has them: in a browser, on a desk and on a phone, by keyboard, at night."""

import json
import shutil

import pytest

from superalign_env.report import write_report
from superalign_env.store import Run

pytest.importorskip("selenium", reason="needs superalign-env[slow]")

from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

CHROME = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROME, reason="needs chromium or google-chrome in the PATH"),
    pytest.mark.skipif(not DRIVER, reason="needs chromedriver in the PATH"),
]
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGES = ("report", "comparison")
MODES = ("light", "dark")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(chain, recording, tmp_path_factory):
    """The address of each kind of page."""
    folder = tmp_path_factory.mktemp("pages")
    with Run.create(folder / "other", kind="train", config={}, seed=6) as run:
        recording.generation(run, 1, accepted=True, parent="")
    written = (
        write_report(chain, out=folder / "report.html"),
        write_report(chain, compare=[folder / "other"], out=folder / "comparison.html"),
    )
    return {path.stem: path.as_uri() for path in written}


@pytest.fixture
def show(browser, pages):
    """Open a page as it is seen on a screen of this width, by day or by night."""

    def shown(page, width=1280, mode="light", unfolded=False):
        metrics = {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600
        }  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": mode}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(pages[page])
        if unfolded:
            browser.execute_script(
                "document.querySelectorAll('details').forEach(e => { e.open = true })"
            )
        return browser

    return shown


def said_by(browser):
    """What the page's network and console said since this was last asked."""
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return asked, browser.get_log("browser")


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_asked_of_anybody_and_nothing_goes_wrong(show, browser, pages, page):
    said_by(browser)
    show(page, unfolded=True)
    asked, complaints = said_by(browser)
    assert asked == [pages[page]]
    assert complaints == []


def test_hostile_text_is_text_and_runs_nothing(show, recording):
    browser = show("report", unfolded=True)
    assert browser.find_elements(By.CSS_SELECTOR, "script, img, iframe, link, object") == []
    said = browser.find_element(By.CSS_SELECTOR, ".transcript .said").text
    visible = browser.execute_script("return document.body.innerText")
    assert "<script>alert(1)</script>" in visible and "\u202e" in recording.hostile
    assert not set("\u202e\x1b") & set(visible + said)
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert.accept()
    at = "return document.documentElement.getAttributeNames().concat(typeof alerted)"
    assert browser.execute_script(at) == ["lang", "undefined"]


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize("width", [390, 1024, 1440])
@pytest.mark.parametrize("page", PAGES)
def test_the_page_never_scrolls_sideways(show, page, width, unfolded):
    browser = show(page, width, unfolded=unfolded)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width


@pytest.mark.parametrize("page", PAGES)
def test_the_contents_lead_to_headings(show, page):
    browser = show(page)
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    headings = browser.find_elements(By.CSS_SELECTOR, "main h2")
    assert len(links) > 5
    assert [link.text for link in links] == [heading.text for heading in headings]
    for link in links:
        name = link.get_dom_attribute("href").removeprefix("#")
        target = browser.find_element(By.ID, name)
        assert (target.tag_name, target.text) == ("h2", link.text)
    links[len(links) // 2].click()
    top = "return document.querySelector(':target').getBoundingClientRect().top"
    assert 0 <= browser.execute_script(top) < 900


@pytest.mark.parametrize("page", PAGES)
def test_every_part_says_something_under_one_title(show, page):
    browser = show(page)
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1
    assert browser.title.endswith("superalign")
    for part in browser.find_elements(By.TAG_NAME, "section"):
        heading = part.find_element(By.TAG_NAME, "h2").text
        assert len(part.text) > len(heading), f"{heading} is empty"


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_has_a_name_of_its_own(show, page):
    browser = show(page, unfolded=True)
    drawn = browser.find_elements(By.CSS_SELECTOR, "svg:not([aria-hidden])")
    names = [picture.accessible_name for picture in drawn]
    assert len(names) > 8 and all(names)
    assert len(set(names)) == len(names)
    assert {picture.aria_role for picture in drawn} <= {"img", "image"}
    silent = browser.find_elements(By.CSS_SELECTOR, "svg[aria-hidden]")
    words = [sample.find_element(By.XPATH, "./..").text for sample in silent]
    assert words and all(words), "a sample in a legend has words beside it"


SIZES = """
return [...document.querySelectorAll('svg text')].map(text => {
  const m = text.getScreenCTM()
  return [text.textContent, parseFloat(getComputedStyle(text).fontSize) * Math.hypot(m.a, m.b)]
})
"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_words_in_pictures_are_large_enough(show, page, width):
    sizes = show(page, width, unfolded=True).execute_script(SIZES)
    assert len(sizes) > 100
    assert {said: round(size, 1) for said, size in sizes if size < 9} == {}


CONTRASTS = """
const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
const parts = colour => colour.match(/[\\d.]+/g).map(Number)
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
const below = element => {
  for (let e = element; e; e = e.parentElement) {
    const found = getComputedStyle(e).backgroundColor
    if (parts(found)[3] !== 0) return found
  }
  return 'rgb(255, 255, 255)'
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
const found = new Map()
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement
  if (!walker.currentNode.data.trim() || element.closest('title, desc')) continue
  const style = getComputedStyle(element)
  const drawn = element.namespaceURI.endsWith('svg')
  const colours = [drawn ? style.fill : style.color, below(element)]
  const [low, high] = colours.map(c => light(parts(c))).sort((a, b) => a - b)
  // What stands upon a coloured cell is tested where cells are drawn.
  if (!drawn || !element.closest('.matrix')) found.set(colours.join(' on '), (high + .05) / (low + .05))
}
return [...found]
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("page", PAGES)
def test_all_text_can_be_read_by_day_and_by_night(show, page, mode):
    found = dict(show(page, mode=mode, unfolded=True).execute_script(CONTRASTS))
    assert len(found) >= 4
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


def test_the_night_is_dark(show):
    ground = "return getComputedStyle(document.body).backgroundColor"
    day, night = (show("report", mode=mode).execute_script(ground) for mode in MODES)
    assert (day, night) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_paper_is_white_at_night_and_shows_what_is_open(show):
    browser = show("report", mode="dark")
    night = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": "print", "features": night}
    )
    paper = "return getComputedStyle(document.documentElement).getPropertyValue('--paper')"
    assert browser.execute_script(paper) == "#ffffff"
    assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "details > summary").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_what_is_folded_opens_by_keyboard(show):
    browser = show("report")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "To the content" and skip.location["x"] >= 0
    for _ in range(300):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.tag_name == "summary":
            break
    summary = browser.switch_to.active_element
    folded = summary.find_element(By.XPATH, "./..")
    assert folded.tag_name == "details" and folded.get_dom_attribute("open") is None
    for key, state in ((Keys.ENTER, "true"), (Keys.SPACE, None)):
        summary.send_keys(key)
        WebDriverWait(browser, 5).until(
            lambda _, s=state: folded.get_dom_attribute("open") == s
        )


def test_wide_tables_scroll_by_themselves_and_by_keyboard(show):
    browser = show("report", 390, unfolded=True)
    wide = [
        region
        for region in browser.find_elements(By.CSS_SELECTOR, ".scroll")
        if browser.execute_script(
            "return arguments[0].scrollWidth > arguments[0].clientWidth", region
        )
    ]
    assert wide
    for region in wide:
        assert region.get_dom_attribute("tabindex") == "0" and region.accessible_name
