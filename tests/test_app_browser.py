"""The web app as people meet it: in a real browser, with mouse, keyboard and files."""

import re
from urllib.parse import urlsplit

import pytest
from app_serving import chromium

from lab_utils.lessons.public_url.loopback import FarEnd, LoopbackWay
from lab_utils.tables import read_table
from lab_utils.tunnel import Login, Tunnel
from text_recognizer.places import SAMPLE_PAGES

PAGE = SAMPLE_PAGES / "show_font_002.jpg"
MOST_MS = 20_000


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def stand_in_url(app):
    return app[0].local_url


@pytest.fixture
def open_page(browser):
    """Opens the app; afterwards no page has asked another host, or had an error."""
    contexts, hosts, errors = [], set(), []

    def start(url: str, width: int = 1000, height: int = 900, scheme: str = "light", login=None):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            http_credentials=login,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MOST_MS)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        button(page, "read").wait_for()
        return page

    yield start
    for context in contexts:
        context.close()
    assert hosts <= {"127.0.0.1", "localhost", None}  # None: data: and blob:
    assert errors == []


def button(page, name: str):
    return page.locator(f"button#{name}, #{name} button").first


def text_of(page) -> str:
    return "\n".join(page.locator("#text .line").all_inner_texts())


def wait_for_text(page) -> str:
    page.locator("#text .line").first.wait_for()
    return text_of(page)


def upload(page, path) -> None:
    page.locator("#image input[type=file]").first.set_input_files(str(path))
    page.locator("#image img").first.wait_for()


def write(page, field, text: str) -> None:
    """Writes into a field that has just been opened. Gradio sets the value of such a field for some
    milliseconds more, which people are too slow to meet and a test is not."""
    for _ in range(20):
        field.fill(text)
        page.wait_for_timeout(200)
        if field.input_value() == text:
            return
    raise AssertionError("the field does not keep what is written")


def draw(page, strokes) -> None:
    """Draws strokes of (x, y) points in px from the canvas's corner with the mouse."""
    page.get_by_role("tab", name="Write by hand").click()
    canvas = page.locator("#canvas canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x, box["y"] + y) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()


def test_a_page_is_read_through_a_link_with_a_password(open_page, stand_in_url):
    far_end, port = FarEnd(), urlsplit(stand_in_url).port
    with Tunnel(port, LoopbackWay(far_end), Login("ada", "secret")) as tunnel:
        page = open_page(tunnel.url, login={"username": "ada", "password": "secret"})
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.locator("#samples button").first.click()
        assert "gray" in wait_for_text(page)
        page.close()  # before its link goes: it may still be fetching a part of itself
    far_end.close()
    assert {urlsplit(url).port for url in asked if url.startswith("http")} == {
        urlsplit(tunnel.url).port
    }, "the page asked under an address that is not the link's"


def test_the_canvas_gives_its_strokes_in_ink_on_white_paper(open_page, stand_in_url):
    page = open_page(stand_in_url)
    draw(page, [[(20, 40), (200, 60)], [(20, 80), (200, 90)]])
    page.get_by_role("button", name="Undo").click()
    box = page.locator("#canvas canvas").bounding_box()
    button(page, "read-drawing").click()
    size, gray = wait_for_text(page).split("\n")
    width, height = map(int, size.split("x"))
    assert width / height == pytest.approx(box["width"] / box["height"], rel=0.01)
    assert 248 <= int(gray.removeprefix("gray ")) <= 254, "one stroke"
    page.get_by_role("button", name="Clear").last.click()
    button(page, "read-drawing").click()
    page.locator("#message .notice", has_text="nothing to read").wait_for()
    assert text_of(page) == ""


def test_the_text_is_copied_and_feedback_is_kept(open_page, app):
    from playwright.sync_api import expect

    page, feedback = open_page(app[0].local_url), app[0].functions.feedback
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upload(page, PAGE)
    button(page, "read").click()
    read = wait_for_text(page)
    page.locator("#text .copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == read
    page.get_by_role("button", name="Wrong? Tell us").click()
    correction = page.locator("#correction textarea")
    expect(correction).to_have_value(read)
    write(page, correction, 'It says "so",\nand more.')
    button(page, "send-feedback").click()
    page.locator("#feedback-message [role=status]").wait_for()
    row = read_table(feedback.table)[-1]
    assert row["read"] == read and row["corrected"] == 'It says "so",\nand more.'
    assert (feedback.images / row["image"]).read_bytes() == PAGE.read_bytes()


def test_a_file_that_is_no_image_ends_in_a_sentence_and_the_next_one_is_read(
    open_page, stand_in_url, tmp_path
):
    not_a_picture = tmp_path / "notes.png"
    not_a_picture.write_text("This is no picture.")
    page = open_page(stand_in_url)
    upload(page, not_a_picture)
    button(page, "read").click()
    assert "is not an image in PNG, JPEG" in page.locator("#message .notice").inner_text()
    assert text_of(page) == ""
    spoken = page.locator("[aria-live]", has_text="is not an image")
    spoken.wait_for(state="attached")  # for screen readers
    page.get_by_label("Remove Image").click()
    upload(page, PAGE)
    button(page, "read").click()
    assert "gray" in wait_for_text(page)
    refusals = page.locator("#message .notice", has_text="is not an image")
    assert refusals.count() == 0


def test_the_keyboard_alone_is_enough(open_page, stand_in_url):
    page = open_page(stand_in_url)
    upload(page, PAGE)  # the browser's own file dialogue can't be reached from a test
    page.locator("body").focus()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[document.activeElement.id, document.activeElement.closest('[id]')?.id]"
        )
        seen.append(focused)
        if "read" in focused:
            break
    assert "read" in seen[-1], seen
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring != "none", "the button does not show that it has the focus"
    page.keyboard.press("Enter")
    assert "gray" in wait_for_text(page)


@pytest.mark.parametrize("width, scheme", [(390, "dark"), (1440, "light")])
def test_nothing_is_cut_off_unreadable_or_nameless(open_page, stand_in_url, width, scheme):
    page = open_page(stand_in_url, width, 844, scheme)
    upload(page, PAGE)
    button(page, "read").click()
    wait_for_text(page)
    page.locator("#found img").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("tab", name="Write by hand").click()
    page.locator("#canvas canvas").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in ("read-drawing", "text", "message"):
        box = page.locator(f"#{part}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    colours = page.evaluate(
        """[getComputedStyle(document.querySelector('#text .line')).color,
             getComputedStyle(document.body).backgroundColor]"""
    )
    ink, paper = (sum(map(float, re.findall(r"[0-9.]+", colour)[:3])) / 3 for colour in colours)
    assert abs(ink - paper) > 100 and (paper > 128) == (scheme == "light"), colours
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, textarea, input:not([type=file]), img, canvas')]
        .filter(part => part.getClientRects().length)
        .filter(part => !(part.getAttribute('aria-label') || part.getAttribute('title')
            || part.hasAttribute('alt') || part.innerText?.trim() || part.labels?.length
            || part.getAttribute('aria-labelledby')))
        .map(part => part.outerHTML.slice(0, 200))"""
    )
    assert nameless == [], "a screen reader needs a name for each"
