"""The gate before the batching queue: who waits, who enters together, and who gives up. And how a
batch is shared out to threads."""

import asyncio

import pytest
import torch
from PIL import Image, ImageDraw

from lab_utils.service.batching import Generations
from lab_utils.service.batching_threads import BatchReader, shares
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer


class Model:
    """Stands for a batching queue and what reads: it reads whoever is inside when `turn` is set."""

    def __init__(self, size: int) -> None:
        self.gate = Generations(size)
        self.batches: list[list[str]] = []
        self._inside: list[tuple[str, asyncio.Future]] = []

    async def ask(self, name: str) -> str:
        async with self.gate.member():
            done = asyncio.get_running_loop().create_future()
            self._inside.append((name, done))
            return await done

    async def begin(self) -> list[tuple[str, asyncio.Future]]:
        """A batch begins with all that are inside."""
        await _settle()
        self.gate.close()
        batch, self._inside = self._inside, []
        batch = [(name, done) for name, done in batch if not done.cancelled()]
        self.batches.append([name for name, _ in batch])
        return batch

    async def end(self, batch: list[tuple[str, asyncio.Future]]) -> None:
        for name, done in batch:
            if not done.done():
                done.set_result(name)
        await _settle()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def ask_all(model: Model, names: str) -> dict[str, asyncio.Task]:
    return {name: asyncio.ensure_future(model.ask(name)) for name in names}


def test_whoever_comes_while_a_batch_is_read_goes_into_the_next_one_together():
    async def run() -> None:
        model = Model(3)
        tasks = ask_all(model, "a")
        batch = await model.begin()
        for name in "bcde":  # one after the other, as they come
            tasks |= ask_all(model, name)
            await _settle()
        assert model.gate.waiting == 4
        for _ in range(3):
            await model.end(batch)
            batch = await model.begin()
        assert model.batches == [["a"], ["b", "c", "d"], ["e"], []]
        assert [await task for task in tasks.values()] == list("abcde")

    asyncio.run(run())


def test_a_generation_is_open_until_its_batch_begins_and_has_no_more_than_fit():
    async def run() -> None:
        model = Model(2)
        tasks = ask_all(model, "abc")
        batch = await model.begin()
        assert model.batches == [["a", "b"]]
        await model.end(batch)
        assert tasks["a"].done() and tasks["b"].done() and not tasks["c"].done()
        tasks |= ask_all(model, "d")  # "c" is inside, and its batch has not begun
        await model.end(await model.begin())
        assert model.batches[1] == ["c", "d"]
        await asyncio.gather(*tasks.values())

    asyncio.run(run())


@pytest.mark.parametrize("moment", ["before the gate", "let in", "inside", "read"])
def test_whoever_gives_up_holds_up_nobody(moment):
    async def run() -> None:
        model = Model(1)
        tasks = ask_all(model, "a")
        batch = await model.begin()
        tasks |= ask_all(model, "bc")
        await _settle()
        if moment == "before the gate":
            tasks["b"].cancel()
            await model.end(batch)
        elif moment == "let in":
            batch[0][1].set_result("a")
            while model.gate.waiting == 2:
                await asyncio.sleep(0)
            tasks["b"].cancel()  # it has its place and doesn't know it yet
        else:
            await model.end(batch)
            if moment == "read":
                await model.begin()
            tasks["b"].cancel()
        await _settle()
        await model.end(await model.begin())
        assert await asyncio.wait_for(tasks["c"], 5) == "c"
        assert await tasks["a"] == "a"
        assert tasks["b"].cancelled()
        assert model.gate.waiting == 0

    asyncio.run(run())


def test_a_failed_batch_opens_the_gate():
    async def run() -> None:
        model = Model(1)
        tasks = ask_all(model, "ab")
        ((_, done),) = await model.begin()
        done.set_exception(RuntimeError("the model broke"))
        await _settle()
        await model.end(await model.begin())
        assert await tasks["b"] == "b"
        with pytest.raises(RuntimeError):
            await tasks["a"]

    asyncio.run(run())


def page(width: int, height: int = 40) -> Image.Image:
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).line((5, 20, width - 5, 20), fill=0, width=3)
    return image


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_readings_come_in_the_order_of_their_pages(stand_in_path, threads, count):
    recognizer = ParagraphTextRecognizer(stand_in_path)
    pages = [page(50 + 10 * (i * 5 % 8)) for i in range(count)]
    readings = BatchReader(recognizer, threads).read(pages)
    assert [reading.text for reading in readings] == recognizer.predict_batch(pages)
    assert [reading.width for reading in readings] == [one.width for one in pages]


def test_a_page_alone_has_all_threads_and_pages_of_a_batch_have_one_each():
    class Spy:
        def read_batch(self, pages):
            seen.append((len(pages), torch.get_num_threads()))
            return list(pages)

    seen: list[tuple[int, int]] = []
    before = torch.get_num_threads()
    reader = BatchReader(Spy(), 2)
    reader.read([page(50)])
    reader.read([page(50), page(60), page(70), page(80)])
    reader.read([page(50)])
    assert seen == [(1, 2), (2, 1), (2, 1), (1, 2)]
    assert torch.get_num_threads() == before


def test_shares_have_about_the_same_area():
    pages = [page(width) for width in (800, 100, 100, 100, 100, 100, 100, 200)]
    parts = shares(pages, 2)
    assert sorted(i for part in parts for i in part) == list(range(8))
    assert [sum(pages[i].width for i in part) for part in parts] == [800, 800]
    assert shares(pages[:1], 4) == [[0]]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_page_that_breaks_the_model_breaks_no_other(threads):
    class Broken:
        def read_batch(self, pages):
            if any(one.width == 66 for one in pages):
                raise RuntimeError("the model broke")
            return [one.width for one in pages]

    reader = BatchReader(Broken(), threads)
    first, broken, last = reader.read([page(50), page(66), page(70)])
    assert (first, last) == (50, 70)
    assert isinstance(broken, RuntimeError)
    assert reader.read([page(80), page(90)]) == [80, 90]
