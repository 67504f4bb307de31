"""Views: the sheet in a picture, upright, in even light, block by block, at the writing's size."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from text_recognizer.evaluate.kinds import make_items
from text_recognizer.limits import MAX_PAGE_SIDE
from text_recognizer.metrics import character_edits
from text_recognizer.models.normalization import overview_size
from text_recognizer.pages import kinds
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.views import find_sheet, one_line_view, sized_view
from text_recognizer.views.blocks import count_lines
from text_recognizer.views.crossed import without_crossed_out
from text_recognizer.views.direction import direction
from text_recognizer.views.geometry import mapped
from text_recognizer.views.ink import small
from text_recognizer.views.seen import Seen

LOOKS = ("first", 0.9), ("second", 0.5)


def written(width=700, height=480, lines=7, pitch=60, left=40, word=70):
    """A page with lines of short strokes that look like words from afar."""
    rng = np.random.default_rng(5)
    page = Image.new("L", (width, height), 235)
    draw = ImageDraw.Draw(page)
    for row in range(lines):
        y, x = 40 + row * pitch, left
        while x < width - 60 - int(rng.integers(0, 80)):
            for _ in range(word // 9):
                rise = int(rng.choice([10, 10, 22]))
                draw.line((x, y + 10, x + 3, y + 10 - rise), 30, 3)
                draw.line((x + 3, y + 10 - rise, x + 8, y + 9), 30, 2)
                x += 9
            x += 18
    return page


def views_of(page):
    return find_sheet(page, page).views()


def slant(view):
    return direction(small(view.page).ink).degrees


def test_an_upright_scan_is_one_view_the_page_itself():
    page = written()
    (view,) = views_of(page)  # words above each other make no columns
    assert view.page is page
    assert mapped(view.matrix, [(3, 4)]) == [(3, 4)]


@pytest.mark.parametrize("degrees", [8, -25, 90, 270])
def test_slanting_and_turned_pages_come_out_level(degrees):
    page = written().rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=235)
    (view,) = views_of(page)
    assert abs(slant(view)) < 2
    # A line's first and last points lie in the picture as it was turned.
    (x0, y0), (x1, y1) = mapped(view.matrix, [(10, 50), (210, 50)])
    turned = math.degrees(math.atan2(y0 - y1, x1 - x0))
    assert abs((turned - degrees + 90) % 180 - 90) < 2


def test_a_sheet_upside_down_shows_what_lies_there_in_the_turned_picture():
    page = written(lines=4)
    (turned,) = find_sheet(page, page).upside_down().views()
    (direct,) = find_sheet(page, page).views()
    (left, top), (right, bottom) = mapped(turned.matrix, [(0, 0), turned.page.size])
    assert left > right and top > bottom
    shown = turned.page.rotate(180)
    assert abs(float(np.asarray(shown).mean()) - float(np.asarray(direct.page).mean())) < 25
    assert abs(slant(turned)) < 2


def test_the_light_is_made_even_and_bright_and_light_letters_stay_as_they_are():
    (view,) = views_of(kinds.shadow(np.random.default_rng(1), written(), 0.25))
    paper = small(view.page).paper
    assert float(paper.min()) > 0.85 * float(paper.max()), "a hard shadow is lifted"
    (view,) = views_of(written().point(lambda gray: gray // 12))
    darkest, brightest = view.page.getextrema()
    assert darkest < 50 and brightest > 200
    night = written().point(lambda gray: (255 - gray) * 3 // 4)
    (view,) = views_of(night)
    assert view.page is night


@pytest.mark.parametrize("share", [0.8, 0.35])
def test_the_sheet_on_a_desk_is_cut_out(share):
    page = written()
    photo = kinds.desk(np.random.default_rng(2), page, share, clutter=share < 0.5)
    (view,) = views_of(photo)
    assert view.page.width / view.page.height == pytest.approx(page.width / page.height, rel=0.25)
    pixels = np.asarray(view.page)
    assert (pixels > 120).mean() > 0.85  # paper, not desk
    assert abs(slant(view)) < 2


def test_a_small_sheet_on_a_striped_cloth_of_nearly_its_light_is_cut_out():
    y, x = np.mgrid[:900, :1200]
    cloth = Image.fromarray((105 + 14 * np.sin(y / 9) - x / 50).astype(np.uint8))
    sheet = written(lines=4, height=280).resize((400, 160)).point(lambda gray: 0.66 * gray)
    cloth.paste(sheet, (420, 330))
    (view,) = views_of(cloth)
    (left, top), (right, bottom) = mapped(view.matrix, [(0, 0), view.page.size])
    assert (left, top, right, bottom) == pytest.approx((420, 330, 820, 490), abs=20)


def test_two_lines_beside_two_far_away_are_columns_and_one_line_with_a_gap_is_not():
    page = Image.new("L", (1500, 150), 235)
    page.paste(written(width=600, lines=2, height=150), (0, 0))
    page.paste(written(width=600, lines=2, height=150), (880, 0))
    left, right = views_of(page)
    assert mapped(left.matrix, [(0, 0)])[0][0] < 100 < left.page.width < 900
    assert mapped(right.matrix, [(0, 0)])[0][0] > 600
    (line,) = views_of(page.crop((0, 0, 1500, 75)))
    assert line.page.width > 1200


def test_two_lines_between_the_rows_of_a_narrow_text_are_no_column_beside_it():
    line = written(width=440, lines=1, height=60).crop((0, 20, 440, 55))
    letter = Image.new("L", (1180, 270), 235)
    for x, height, tops in ((30, 30, (45, 75, 130, 160, 190)), (700, 40, (32, 113))):
        for top in tops:
            letter.paste(line.resize((440, height)), (x, top))
    assert len(views_of(letter)) == 1


@pytest.mark.parametrize("below_heading", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_columns_whose_rows_slant_into_each_other_are_columns_and_one_column_is_not(
    count, below_heading
):
    column = written(width=500, lines=6, height=260, pitch=34)
    sheet = Image.new("L", (60 + 560 * count, 420), 235)
    for number in range(count):
        degrees = (5, -4, 6)[number]
        slanting = column.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=235)
        sheet.paste(slanting.crop((20, 20, 490, slanting.height)), (20 + 560 * number, 90))
    if below_heading:
        sheet.paste(written(width=sheet.width - 40, lines=1, height=80), (20, 0))
    views = views_of(sheet)
    assert [view.block for view in views] == list(range(count + below_heading))
    starts = [mapped(view.matrix, [(0, 0)])[0][0] for view in views[below_heading:]]
    assert starts == sorted(starts) and starts[1] > 400
    assert len(views_of(sheet.crop((0, 90, 550, 420)))) == 1


def test_one_line_of_large_letters_is_one_view_however_wide_the_gap_between_its_words():
    page = Image.new("L", (1600, 150), 235)
    draw = ImageDraw.Draw(page)
    for number in range(14):  # each looks like two rows, all of them do not
        x, y = 40 + 100 * number + 130 * (number > 6), 30 + 12 * (number % 3)
        draw.ellipse((x, y, x + 70, y + 75), outline=30, width=6)
    assert len(views_of(page)) == 1


def test_a_tall_picture_is_read_in_pieces_without_overlap():
    height = 3600
    picture = Image.new("L", (800, height), 235)
    for part in range(height // 900):  # of other words, or their gaps would look like lines
        words = written(width=800, height=900, lines=15, left=30 + 9 * part, word=54 + 9 * part)
        picture.paste(words, (0, 900 * part))
    count = height // 60
    page = picture.copy()
    page.thumbnail((MAX_PAGE_SIDE, MAX_PAGE_SIDE))
    views = find_sheet(page, picture).views()
    assert len(views) > 2 and {view.block for view in views} == {0}
    edges = [mapped(v.matrix, [(0, 0), (0, v.page.height)]) for v in views]
    for (_, (_, end)), ((_, start), _) in zip(edges, edges[1:], strict=False):
        assert end == pytest.approx(start, abs=2)
    for view, ((_, top), (_, bottom)) in zip(views, edges, strict=True):
        assert view.page.height == pytest.approx(bottom - top, rel=0.01), "in the picture's size"
    lines = sum(count_lines(small(view.page).ink) for view in views)
    assert lines == pytest.approx(count, rel=0.05)


def test_a_word_that_fills_the_picture_is_made_smaller():
    word = written(lines=1, height=80, width=240).resize((1200, 400))
    view = sized_view(*views_of(word))
    shown = overview_size(view.page.height, view.page.width)[0] / view.page.height
    assert view.page.height * shown < 140
    (x, y) = mapped(view.matrix, [(view.page.width / 2, view.page.height / 2)])[0]
    assert 300 < x < 900 and 50 < y < 350


def test_one_line_is_shown_in_the_height_asked_for_with_much_paper_around_it():
    (large,) = views_of(written(lines=1, height=80, width=240).resize((1200, 400)))
    for height in (20, 30):
        seen = small(one_line_view(large, height).page)
        box = seen.box
        assert height * 0.8 < (box.bottom - box.top) * seen.scale < height * 1.3
        assert seen.ink.shape[0] > 3 * (box.bottom - box.top)
    empty = views_of(Image.new("L", (60, 40), 240))[0]
    assert one_line_view(empty, 20) is empty


def test_a_word_looks_other_than_lines_and_pages():
    assert views_of(written(lines=1, height=80, width=240))[0].is_word
    assert not views_of(written(lines=1, height=80))[0].is_word
    assert not views_of(written(lines=4, height=280, width=420))[0].is_word
    assert not views_of(Image.new("L", (60, 40), 240))[0].is_word


def test_a_line_takes_the_readings_of_another_view():
    view = views_of(Image.new("L", (60, 40), 240))[0]
    one, two = (Seen(view, [[name]], [sure], [[[0.0, 5.0]]], [8.0]) for name, sure in LOOKS)
    both = one.read_as(two)
    assert both.readings == [["first", "second"]] and both.paths == one.paths
    assert both.confidences == [0.5]


def test_parts_of_a_line_that_slants_are_joined_and_lines_above_each_other_are_not():
    (view,) = views_of(Image.new("L", (60, 40), 240))
    frames = [torch.full((2, 4), 0.1 * number) for number in range(2)]
    paths = [[[50.0, 12.0], [90.0, 14.0]], [[0.0, 10.0], [42.0, 12.0]]]
    seen = Seen(view, [[frames[0]], [frames[1]]], [0.5, 0.9], paths, [10.0, 9.0])
    (one,) = seen.joined(1).readings
    assert torch.equal(one[0][:2], frames[1]) and torch.equal(one[0][3:], frames[0])
    assert one[0][2].argmax() == 1, "a space between the two"
    above = Seen(view, [["a"], ["b"]], [0.5, 0.9], [paths[0], [[0.0, 30.0], [42.0, 32.0]]], [9, 9])
    assert above.joined(1) is above


def test_beside_one_sure_line_doubtful_ones_are_left_out():
    view = views_of(Image.new("L", (60, 40), 240))[0]
    paths = [[[0.0, 10.0 * n], [20.0, 10.0 * n]] for n in range(3)]
    seen = Seen(view, [["a"], ["b"], ["c"]], [0.3, 0.99, 0.5], paths, [8.0, 9.0, 10.0])
    sure = seen.sure_of(0.9)
    assert (sure.readings, sure.confidences, sure.paths) == ([["b"]], [0.99], paths[1:2])
    assert sure.heights == [9.0] and sure.view is view
    assert seen.sure_of(0.995) is seen


def test_a_line_that_lies_on_a_longer_one_is_the_same_ink():
    view = views_of(Image.new("L", (60, 40), 240))[0]
    paths = [[[30.0, 11.0], [60.0, 12.0]], [[0.0, 10.0], [58.0, 12.0]], [[0.0, 30.0], [50.0, 30.0]]]
    seen = Seen(view, [["twice"], ["long"], ["below"]], [0.9, 0.8, 0.9], paths, [10.0, 9.0, 9.0])
    assert seen.found_once().readings == [["long"], ["below"]]
    apart = Seen(view, [["a"], ["b"]], [0.9, 0.8], [paths[1], paths[2]], [10.0, 9.0])
    assert apart.found_once() is apart


def test_words_under_several_strokes_are_left_out_and_underlined_ones_stay():
    page = written(lines=3, height=200, width=420)
    draw = ImageDraw.Draw(page)
    draw.line((40, 180, 180, 182), 30, 3)
    (view,) = views_of(page)
    assert without_crossed_out(view, 50.0) is view
    for y in (100, 107):
        draw.line((150, y, 240, y + 2), 30, 3)
    (view,) = views_of(page)
    clean = without_crossed_out(view, 50.0)
    box, rest = (155, 80, 235, 125), (245, 80, 420, 125)
    assert clean.page.crop(box).getextrema()[0] > 200
    assert clean.page.crop(rest).tobytes() == view.page.crop(rest).tobytes()
    assert clean.seen.ink.sum() < view.seen.ink.sum()


@pytest.mark.nightly
def test_a_large_word_that_looks_turned_is_read_as_one_line(model_path, handwriting):
    recognizer = ParagraphTextRecognizer(model_path)
    *_, item = make_items(("word-100",), 1)
    text = recognizer.predict(item.picture)
    assert "\n" not in text
    assert character_edits(text, item.text).rate < 0.2
