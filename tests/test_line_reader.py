"""The line reader is PP-OCRv6 small: it computes what onnxruntime computes from the ONNX file.

What needs no ONNX file, the padding, is shown on random weights.
"""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from text_recognizer.models.import_line_reader import find_onnx, main
from text_recognizer.models.line_reader import LineReader
from text_recognizer.vocabulary import NUM_READER_CLASSES

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def onnx_path() -> Path:
    given = os.environ.get("LAB_RAPIDOCR_ONNX")
    if given:
        return Path(given)
    try:
        return find_onnx()
    except FileNotFoundError as error:
        pytest.skip(f"needs the ONNX file: {error}")


@pytest.fixture(scope="module")
def imported(onnx_path: Path, tmp_path_factory) -> LineReader:
    """The reader with the weights that the command wrote."""
    pytest.importorskip("onnx", reason="reads the ONNX file")
    out = tmp_path_factory.mktemp("imported") / "new" / "reader.safetensors"
    assert main(["--onnx", str(onnx_path), "--out", str(out)]) == 0
    reader = random_reader()
    reader.load_state_dict(load_file(out))
    return reader


@pytest.fixture(scope="module")
def reference(onnx_path: Path):
    """The ONNX file under onnxruntime: strips (N, 1, 48, W) to all 18,710 logits, not softmax."""
    onnx = pytest.importorskip("onnx", reason="reads the ONNX file")
    onnxruntime = pytest.importorskip("onnxruntime", reason="runs the ONNX file")
    model = onnx.load(str(onnx_path))
    softmax = next(n for n in model.graph.node if n.output[0] == model.graph.output[0].name)
    assert softmax.op_type == "Softmax"
    logits = onnx.helper.make_tensor_value_info(softmax.input[0], onnx.TensorProto.FLOAT, None)
    model.graph.output.append(logits)
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def run(strips: Tensor) -> Tensor:
        colour = strips.expand(-1, 3, -1, -1).numpy()
        return torch.from_numpy(session.run([softmax.input[0]], {"x": colour})[0])

    return run


@pytest.fixture(scope="module")
def kept_classes(onnx_path: Path) -> list[int]:
    """Where blank, space, "!" ... "~" are among the file's classes, worked out here."""
    onnx = pytest.importorskip("onnx", reason="reads the ONNX file")
    metadata = {entry.key: entry.value for entry in onnx.load(str(onnx_path)).metadata_props}
    names = metadata["character"].split("\n")
    return [0, len(names) + 1, *(names.index(chr(code)) + 1 for code in range(33, 127))]


def random_reader() -> LineReader:
    torch.manual_seed(0)
    return LineReader().eval()


def random_strips(count: int, width: int, seed: int) -> Tensor:
    return torch.rand(count, 1, 48, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def in_one_batch(strips: list[Tensor], fill: float) -> tuple[Tensor, Tensor]:
    widths = [strip.shape[3] for strip in strips]
    batch = torch.full((len(strips), 1, 48, max(widths)), fill)
    for row, strip in zip(batch, strips, strict=True):
        row[:, :, : strip.shape[3]] = strip[0]
    return batch, torch.tensor(widths)


@torch.inference_mode()
@pytest.mark.parametrize(("count", "width"), [(1, 8), (2, 328)])
def test_logits_equal_onnxruntime_on_random_strips(
    imported, reference, kept_classes, count, width
) -> None:
    strips = random_strips(count, width, seed=width)
    logits = imported(strips)
    assert logits.shape == (count, width // 8, NUM_READER_CLASSES)
    expected = reference(strips)[..., kept_classes]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_padding_changes_no_logits() -> None:
    reader = random_reader()
    strips = [random_strips(1, width, seed=width) for width in (8, 104, 240, 320)]
    batch, widths = in_one_batch(strips, fill=-1.0)
    together, unmasked = reader(batch, widths), reader(batch)
    for strip, row, leaking in zip(strips, together, unmasked, strict=True):
        alone = reader(strip)[0]
        frames = alone.shape[0]
        torch.testing.assert_close(row[:frames], alone, atol=1e-5, rtol=0)
        if frames < batch.shape[3] // 8:  # or else the check above could not fail
            assert (leaking[:frames] - alone).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 32, 64), (1, 1, 48, 60)])
def test_wrong_strips_are_refused(shape) -> None:
    with pytest.raises(ValueError, match="48 px high and a multiple of 8"):
        random_reader()(torch.zeros(shape))


def test_command_names_what_is_missing(tmp_path, capsys) -> None:
    pytest.importorskip("onnx", reason="reads the ONNX file")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a network")
    for path in (tmp_path / "nowhere.onnx", damaged):
        assert main(["--onnx", str(path), "--out", str(tmp_path / "out.safetensors")]) == 2
        complaint = capsys.readouterr().err
        assert str(path) in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()
