"""The contestants of `read_page.py`, each in a process of its own that answers on a pipe.

So none shares threads, caches or memory with another, and each may run in another environment.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Reads files, given how many characters each label holds, and returns their texts.
ReadPages = Callable[[list[str], list[int]], list[str]]


class ReaderProcess:
    """A contestant that was started, and its answers.

    Args:
        name: A key of CONTESTANTS.
        threads: Threads that it may compute with.
        python: The interpreter of its environment.
        model: TorchScript file (recognizer).
        longest: The most characters that it will be asked for (original).
        program: A script that ends in `main` with contestants of its own.

    Raises:
        RuntimeError: The process ended before it was ready, or during a reading.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        python: str = sys.executable,
        model: Path | None = None,
        longest: int = 0,
        program: str = __file__,
    ) -> None:
        self.name = name
        command = [python, program, name, f"--threads={threads}", f"--longest={longest}"]
        if model is not None:
            command.append(f"--model={model}")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._receive()

    def read(self, files: list[Path], lengths: list[int]) -> tuple[float, list[str], float]:
        """Seconds for reading these files at once, their texts, and peak memory so far in MB."""
        assert self._process.stdin
        request = {"files": [str(file) for file in files], "lengths": lengths}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended, which _receive tells
        answer = self._receive()
        return answer["seconds"], answer["texts"], answer["peak_mb"]

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.communicate()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.name} ended with {self._process.wait()}.")
        return json.loads(line)


def recognizer(options: argparse.Namespace) -> ReadPages:
    """Ours, from the TorchScript file, all the files in one batch."""
    import torch

    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    torch.set_num_threads(options.threads)
    reader = ParagraphTextRecognizer(options.model)
    return lambda files, lengths: reader.predict_batch(files)


def without_language_model(options: argparse.Namespace) -> ReadPages:
    """Ours, with its network only."""
    import torch

    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    torch.set_num_threads(options.threads)
    reader = ParagraphTextRecognizer(options.model, language_model="none")
    return lambda files, lengths: reader.predict_batch(files)


def tesseract(options: argparse.Namespace) -> ReadPages:
    """Tesseract 5 with its English model, as it comes: it looks for the blocks of text itself.

    Told that a page is one block (--psm 6), it invents more: CER 1.54 in place of 0.91 on the
    letters of 1905.
    """
    if shutil.which("tesseract") is None:
        raise RuntimeError("There is no tesseract here: install Debian's tesseract-ocr.")
    environment = {**os.environ, "OMP_THREAD_LIMIT": str(options.threads)}

    def read(files: list[str], lengths: list[int]) -> list[str]:
        texts = []
        for file in files:
            command = ["tesseract", file, "stdout", "-l", "eng", "--psm", "3"]
            said = subprocess.run(command, capture_output=True, text=True, env=environment)
            lines = [line.strip() for line in said.stdout.replace("\f", "").split("\n")]
            texts.append("\n".join(line for line in lines if line))
        return texts

    return read


def rapidocr(options: argparse.Namespace, turn_lines: bool = True) -> ReadPages:
    """rapidocr's whole pipeline as it comes: detection, direction, recognition in batches of 6.

    Without `turn_lines` it leaves out the direction, a network that takes time and turns some
    upright handwriting over: the stronger rival on pages that stand upright.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports to its makers
    import cv2
    from rapidocr import RapidOCR

    cv2.setNumThreads(options.threads)
    engine = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": turn_lines,
            "EngineConfig.onnxruntime.intra_op_num_threads": options.threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def read(files: list[str], lengths: list[int]) -> list[str]:
        outputs = [engine(file) for file in files]
        return [
            ""
            if output.boxes is None
            else join_in_reading_order(output.boxes.tolist(), output.txts)
            for output in outputs
        ]

    return read


def original(options: argparse.Namespace) -> ReadPages:
    """The original lab's network on the page at its size; it writes what nobody can read."""
    import torch
    from original_architecture import PAGE_HEIGHT, PAGE_WIDTH, scripted_original
    from PIL import Image

    torch.set_num_threads(options.threads)
    network = scripted_original(options.longest)

    def read(files: list[str], lengths: list[int]) -> list[str]:
        texts = []
        for file, length in zip(files, lengths, strict=True):
            with Image.open(file) as image:
                page = image.convert("L").resize((PAGE_WIDTH, PAGE_HEIGHT))
            pixels = torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8)
            pixels = pixels.view(1, 1, PAGE_HEIGHT, PAGE_WIDTH).float() / 255
            with torch.inference_mode():
                tokens = network(pixels, length)
            texts.append("".join(chr(32 + int(token)) for token in tokens[0, 1:]))
        return texts

    return read


def join_in_reading_order(boxes: list[list[list[float]]], texts: Sequence[str]) -> str:
    """Texts of detected boxes as a paragraph, boxes of one line joined by a space.

    A box belongs to the line above it in the list when its middle lies within the line's last
    box's height; lines go from top to bottom, boxes of a line from left to right.

    Args:
        boxes: Four corners x, y of each (px).
        texts: Of each box.
    """
    lines: list[list[tuple[float, float, float, str]]] = []
    parts = []
    for corners, text in zip(boxes, texts, strict=True):
        ys = [corner[1] for corner in corners]
        parts.append((min(ys), max(ys), min(corner[0] for corner in corners), text))
    for part in sorted(parts, key=lambda part: part[0] + part[1]):
        middle = (part[0] + part[1]) / 2
        if lines and lines[-1][-1][0] < middle < lines[-1][-1][0] * 0.4 + lines[-1][-1][1] * 0.6:
            lines[-1].append(part)
        else:
            lines.append([part])
    return "\n".join(
        " ".join(part[3] for part in sorted(line, key=lambda part: part[2])) for line in lines
    )


def peak_megabytes() -> float:
    """Peak memory so far of this process, or of a program that it ran, if that took more."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose) * 1024 / 1e6  # KiB on Linux


Contestant = Callable[[argparse.Namespace], ReadPages]

CONTESTANTS: dict[str, Contestant] = {
    "recognizer": recognizer,
    "without_language_model": without_language_model,
    "rapidocr": rapidocr,
    "rapidocr_upright": partial(rapidocr, turn_lines=False),
    "tesseract": tesseract,
    "original": original,
}


def main(contestants: dict[str, Contestant] = CONTESTANTS) -> None:
    """The process of the contestant that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=contestants)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--longest", type=int, default=0)
    options = parser.parse_args()
    # The pipe carries only answers: what a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    read = contestants[options.name](options)
    print(json.dumps({"ready": options.name}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        texts = read(request["files"], request["lengths"])
        seconds = time.perf_counter() - began
        peak_mb = peak_megabytes()
        answer = {"seconds": seconds, "texts": texts, "peak_mb": peak_mb}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
