"""The exported network equals the trained model; what engines of FOD score, show and refuse."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
onnx = pytest.importorskip("onnx")

from command_line import call  # noqa: E402
from fod_parts import PREPROCESSING, SIZE, one_thread, pictures, small_model  # noqa: E402, F401

from pyad_edge import Runtime  # noqa: E402
from pyad_edge.backends.int8 import quantize  # noqa: E402
from pyad_edge.backends.registry import open_backend  # noqa: E402
from pyad_edge.engine import read_engine  # noqa: E402
from pyad_edge.errors import BackendError, SettingError  # noqa: E402
from pyad_edge.export.correlation_view import correlation_view  # noqa: E402
from pyad_edge.export.methods.fod.engine import check_agreement, export_engine, export_model  # noqa: E402
from pyad_edge.export.methods.fod.scoring import model_map  # noqa: E402
from pyad_edge.export.methods.patchcore.fit import Calibration  # noqa: E402
from pyad_edge.ops import set_num_threads  # noqa: E402
from pyad_edge.pipeline import unscorable  # noqa: E402


def frames(count, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [cv2.resize(c, (90, 70), interpolation=cv2.INTER_CUBIC) for c in coarse]


def written(folder, model, settings, *, seen=6):
    """An engine calibrated on a few frames."""
    exported = export_model(model, settings, preprocessing=PREPROCESSING)
    pipeline = exported.pipeline(threads=1)
    scores = [pipeline.score([frame]) for frame in frames(seen, seed=1)]
    calibration = Calibration(
        np.sort([s.image[0] for s in scores]).astype(np.float32),
        np.sort([s.map_maxima[0] for s in scores]).astype(np.float32),
    )
    path = folder / "part.pyad"
    export_engine(
        path,
        exported,
        pipeline,
        calibration,
        pictures=6,
        golden=np.stack(frames(2, seed=2)),
        fingerprint="sha256:0",
        facts={"epochs": 1.0},
    )
    return path, exported


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    model, settings = small_model()
    path, exported = written(tmp_path_factory.mktemp("engine"), model, settings)
    return path, exported, model, settings


CASES = [
    {},
    {"skip": "code"},
    {"score": "rec"},
    {"score": "div"},
    {"views": "inter"},
    {"views": "inter", "score": "div"},
    {"views": "intra", "score": "rec"},
    {"views": "patch", "score": "rec"},
    {"reference": "nearest"},
    {"reference": "coreset"},
    {"reference": "prototypes", "score": "div"},
    {"reference": "codebook"},
]


@pytest.mark.parametrize("changes", CASES, ids=lambda c: " ".join(c.values()) or "default")
def test_maps_of_the_engine_are_those_of_the_model(changes):
    """To 1e-4 relative, for one picture and for two at once; no verdict flips."""
    model, settings = small_model(**changes)
    exported = export_model(model, settings, preprocessing=PREPROCESSING)
    assert exported.network.max_relative_error < 1e-5
    pipeline = exported.pipeline(threads=1)
    own = frames(3, seed=5)
    assert check_agreement(model, settings, pipeline, own) < 1e-4
    x = np.empty((3, 3, *SIZE), np.float32)
    for n, frame in enumerate(own):
        pipeline.write_input(frame, out=x[n : n + 1])
    maps, maxima = model_map(model, x, settings.score, sigma=settings.sigma)
    scores = pipeline.score(own)
    assert scores.patches is None
    np.testing.assert_allclose(scores.maps, maps, rtol=1e-4, atol=1e-4 * maps.max())
    np.testing.assert_allclose(scores.image, maxima, rtol=1e-4)
    limit = float(np.sort(maxima)[1])
    verdicts = [(s > limit * 1.0001, m > limit * 1.0001) for s, m in zip(scores.image, maxima)]  # noqa: B905
    assert all(a == b for a, b in verdicts)


def test_only_what_the_score_needs_is_exported():
    def outputs(**changes):
        model, settings = small_model(**changes)
        made = export_model(model, settings, preprocessing=PREPROCESSING)
        graph = onnx.load_from_string(made.network.model).graph
        return made, [o.name for o in graph.output], len(graph.node)

    both, names, nodes = outputs()
    assert names == [f"{n}_{k}" for k in (0, 1) for n in ("errors", "queries", "sigmas")]
    assert [k.shape for k in both.keys] == [(4, 96, 8), (4, 24, 12)]
    rec, names, fewer = outputs(score="rec")
    assert names == ["errors_0", "errors_1"]
    assert rec.keys == (None, None)
    assert fewer < nodes
    _, names, least = outputs(score="div")
    assert names == [f"{n}_{k}" for k in (0, 1) for n in ("queries", "sigmas")]
    assert least < nodes
    read, names, _ = outputs(reference="codebook")
    assert read.keys == (None, None)
    assert read.head.levels[1].keys == names.index("keys_1")


def test_export_and_scores_are_the_same_bytes_again():
    made = [
        export_model(*small_model(seed=3), preprocessing=PREPROCESSING).network.model
        for _ in range(2)
    ]
    assert made[0] == made[1]


def test_the_runtime_infers_decides_and_says_what_it_is(engine):
    path, exported, _, _ = engine
    runtime = Runtime(path, threads=1)
    assert runtime.info["method"] == "fod"
    pipeline = exported.pipeline(threads=1)
    for frame in frames(3, seed=7):
        result = runtime.infer(frame)
        assert result.score == float(pipeline.score([frame]).image[0])
        assert result.anomaly_map.shape == SIZE
        decision = runtime.decide(frame)
        assert (decision.verdict, decision.score) == (result.verdict, result.score)
    together = runtime.infer_batch(frames(3, seed=7))
    assert [r.score for r in together] == [runtime.infer(f).score for f in frames(3, seed=7)]


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_other_backends_agree(engine, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    path, *_ = engine
    try:
        other = Runtime(path, backend=backend, precision="fp32", threads=1)
    except SettingError as error:  # this backend runs on CUDA alone
        pytest.skip(str(error))
    except BackendError as error:
        if "CUDA" in str(error):
            pytest.skip(str(error))
        raise
    runtime = Runtime(path, threads=1)
    for frame in frames(2, seed=8):
        assert other.infer(frame).score == pytest.approx(runtime.infer(frame).score, rel=1e-3)


def test_int8_leaves_the_transformers_in_floating_point(engine):
    """What they correlate is not rounded, and what they give is numbers."""
    path, exported, *_ = engine
    own = exported.pipeline(threads=1).own
    inputs = np.empty((6, 3, *own.input_size), np.float32)
    for n, frame in enumerate(frames(6, seed=1)):
        own.write_input(frame, out=inputs[n : n + 1])
    made = quantize(read_engine(path).tensors["network/onnx"].tobytes(), inputs)
    nodes = onnx.load_from_string(made).graph.node
    assert any(node.op_type == "QuantizeLinear" for node in nodes)
    exact = set()
    for node in nodes:
        if node.op_type == "MatMul" or exact.intersection(node.input):
            assert node.op_type not in ("QuantizeLinear", "DequantizeLinear")
            exact.update(node.output)
    names = tuple(output.name for output in onnx.load_from_string(made).graph.output)
    backend = open_backend("onnxruntime", made, outputs=names, input_size=own.input_size, threads=1)
    assert all(np.isfinite(found).all() for found in backend.run(inputs[:1]))


def test_scores_do_not_depend_on_the_number_of_threads(engine):
    path, *_ = engine
    runtime, before = Runtime(path, threads=1), frames(2, seed=9)
    expected = [runtime.infer(frame).score for frame in before]
    set_num_threads(2)
    try:
        assert [runtime.infer(frame).score for frame in before] == expected
    finally:
        set_num_threads(1)


def test_outputs_that_are_not_finite_or_of_another_size_are_faults(engine):
    _, exported, _, _ = engine
    head = exported.pipeline(threads=1).head
    rng = np.random.default_rng(0)

    def outputs():
        made = []
        for keys, (h, w) in zip(exported.keys, ((8, 12), (4, 6)), strict=True):
            made.append(rng.uniform(0, 1, (1, 1, h, w)).astype(np.float32))
            made.append(rng.normal(size=(1, *keys.shape)).astype(np.float32))
            made.append(rng.uniform(0.2, 2, (1, 2, *keys.shape[:2])).astype(np.float32))
        return made

    def write(given):
        maps, one, other = (np.full(s, np.nan, np.float32) for s in ((1, *SIZE), 1, 1))
        with unscorable("infer"):
            score = head.write(given, maps=maps, maxima=one, means=other)
        assert score[0] == maps.max()
        assert other[0] == pytest.approx(maps.mean(), rel=1e-5)

    write(outputs())
    for place, value, sentence in (
        (0, np.nan, "expected finite errors, got others at level 0"),
        (3, np.inf, "expected finite errors, got others at level 1"),
        (1, np.nan, "expected finite queries"),
        (2, 0.0, "expected positive sigma"),
    ):
        broken = outputs()
        broken[place].flat[3] = value
        with pytest.raises(BackendError, match=sentence):
            write(broken)
    broken = outputs()
    broken[0] = np.zeros((1, 1, 8, 8), np.float32)
    with pytest.raises(BackendError, match=r"expected 8 x 12 patches, got 64 .* other size"):
        write(broken)


def test_a_diverged_model_is_not_exported():
    model, settings = small_model()
    pipeline = export_model(model, settings, preprocessing=PREPROCESSING).pipeline(threads=1)
    with torch.no_grad():
        model.levels[0].projection.bias.add_(0.5)
    with pytest.raises(BackendError, match=r"scores a picture .* relative difference of 1e-04"):
        check_agreement(model, settings, pipeline, frames(1))


def test_the_view_shows_what_the_models_layers_attend_to(engine):
    path, _, model, _ = engine
    runtime = Runtime(path, threads=1)
    view = correlation_view(runtime, (3, 5))
    x = pictures(1, seed=11)
    found = view.correlations(x.numpy(), (3, 5))
    level, index = model.levels[0], 3 * 12 + 5
    with torch.no_grad():
        y, reference = level.embed(model.backbone(x)[0])
        expected = {"intra": [], "inter": []}
        for block in level.blocks:
            for name, branch, own in (("intra", block.intra, y), ("inter", block.inter, reference)):
                p = branch.parts(y, own)
                logits = p.queries[0, :, index, None] @ p.keys.reshape(2, 96, 8).mT / 8**0.5
                expected[name] += list(torch.softmax(logits[:, 0], -1))
            y = block(y, reference, grid=level.grid, intra=None, inter=None).x
    for name, rows in expected.items():
        mean = torch.stack(rows).mean(0).reshape(8, 12).numpy()
        np.testing.assert_allclose(found[name], mean, rtol=1e-3, atol=1e-7)
        assert found[name].sum() == pytest.approx(1)
    frame = frames(1, seed=12)[0]
    result = runtime.infer(frame)
    highest = correlation_view(runtime, None).planes(frame, result)
    at = np.unravel_index(result.anomaly_map.argmax(), SIZE)
    assert highest[0].point == (at[1] // 8 + 0.5, at[0] // 8 + 0.5)
    assert [p.name.split(",")[0] for p in highest] == ["intra-correlation", "inter-correlation"]
    with pytest.raises(SettingError, match=r"within 8 rows and 12 columns, .* got 8,0"):
        correlation_view(runtime, (8, 0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for folder, count, seed in (("train/good", 10, 20), ("test/good", 2, 21), ("test/dent", 2, 22)):
        (root / folder).mkdir(parents=True)
        for i, frame in enumerate(frames(count, seed)):
            cv2.imwrite(str(root / folder / f"{i}.png"), frame)
    (root / "ground_truth/dent").mkdir(parents=True)
    for i in range(2):
        mask = np.zeros((70, 90), np.uint8)
        mask[20:40, 30:60] = 255
        cv2.imwrite(str(root / f"ground_truth/dent/{i}_mask.png"), mask)
    return root


def test_commands_train_evaluate_and_show(dataset, tmp_path):
    engine = tmp_path / "part.pyad"
    common = ("--weights", "random", "--backbone", "test_resnet", "--size", "64")
    answer = call(
        "train", "fod", "--data", dataset, "--out", engine, *common, "--epochs", 0.5,
        "--rows", 0.5, "--threads", 1, "--checkpoint", tmp_path / "c.safetensors",
        "--log", tmp_path / "log.csv",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "4 steps on 8 pictures" in answer.err
    assert "scores differ from torch's by at most" in " ".join(answer.err.split())
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header.startswith("step,loss,intra_div,intra_ent,inter_div,inter_ent")
    assert len(rows) == 4
    answer = call("eval", engine, "--data", dataset, "--save", tmp_path / "o", "--patch", "1,7",
                  "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["image_auroc"] is not None
    shown = cv2.imread(str(tmp_path / "o" / "dent" / "0.png.png"))
    plain = cv2.imread(str(tmp_path / "o" / "good" / "0.png.png"))
    assert shown.shape[1] / shown.shape[0] > 3.2  # five panels
    assert plain.shape[1] < shown.shape[1]  # no ground truth
    assert call("eval", engine, "--data", dataset, "--patch", "1,7").sentence.endswith(
        "got '1,7' without --save."
    )
    answer = call("eval", engine, "--data", dataset, "--save", tmp_path / "o", "--patch", "9,0")
    assert "within 8 rows and 8 columns" in answer.sentence
    assert (
        "[fod] frames cannot be cut into tiles"
        in call(
            "train", "fod", "--data", dataset, "--out", engine, *common, "--size-policy", "tile"
        ).sentence
    )
    assert (
        "Expected --levels as numbers"
        in call(
            "train", "fod", "--data", dataset, "--out", engine, *common, "--levels", "fine"
        ).sentence
    )


def test_letterboxed_frames_with_a_mask(dataset, tmp_path):
    mask = np.full((70, 90), 255, np.uint8)
    mask[:, :30] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    engine = tmp_path / "part.pyad"
    answer = call(
        "train", "fod", "--data", dataset, "--out", engine, "--weights", "random", "--backbone",
        "test_resnet", "--size", "64", "--epochs", 0.1, "--threads", 1, "--size-policy",
        "letterbox", "--mask", tmp_path / "mask.png",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    result = Runtime(engine, threads=1).infer(frames(1, seed=30)[0])
    assert result.anomaly_map[:, :14].max() == 0
    assert result.anomaly_map.max() == np.float32(result.score)
