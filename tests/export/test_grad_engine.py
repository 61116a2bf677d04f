"""From trained detectors to an engine file and back: the same scores, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from pyad_edge import BackendError, Runtime  # noqa: E402
from pyad_edge.engine_manifest import InputSpec, Preprocessing  # noqa: E402
from pyad_edge.export.methods.grad.agreement import model_map  # noqa: E402
from pyad_edge.export.methods.grad.detector import (  # noqa: E402
    LEVELS,
    PRESETS,
    Detector,
    GradModel,
)
from pyad_edge.export.methods.grad.engine import (  # noqa: E402
    check_agreement,
    export_engine,
    export_model,
)
from pyad_edge.export.methods.grad.settings import make_settings  # noqa: E402
from pyad_edge.export.methods.patchcore.fit import Calibration, calibrate  # noqa: E402
from pyad_edge.input_choice import declared_input  # noqa: E402

SIZE = (112, 112)
PREPROCESSING = Preprocessing(
    resize=SIZE, crop=None, mean=(0.5, 0.4, 0.4), std=(0.2, 0.2, 0.3), color_order="rgb"
)


def frames(count: int, size=(130, 121)) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> GradModel:
    torch.manual_seed(0)
    made = GradModel(
        {level: Detector(PRESETS["compact"]) for level in LEVELS},
        preset="compact",
        input_size=SIZE,
        means=[0.3, -0.2, 0.1],
        deviations=[0.6, 0.7, 0.9],
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture(scope="module")
def exported(model):
    settings = make_settings(resize=SIZE, preset="compact", sigma=3.0)
    return export_model(model, settings, preprocessing=PREPROCESSING)


@pytest.fixture(scope="module")
def engine(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grad")
    paths = []
    for n, frame in enumerate(frames(5)):
        paths.append(folder / f"{n}.png")
        Image.fromarray(frame).save(paths[-1])
    pipeline = exported.pipeline()
    return export_engine(
        folder / "part.pyad",
        exported,
        pipeline,
        calibrate(pipeline, paths),
        pictures=9,
        golden=np.stack(frames(2, (64, 72))),
        fingerprint="sha256:0",
        facts={"budget": "5m"},
    )


def test_an_opened_engine_gives_the_bits_of_the_pipeline_in_memory(exported, engine) -> None:
    runtime, pipeline = Runtime(engine), exported.pipeline()
    for frame in frames(4):
        found, wanted = runtime.infer(frame), pipeline.score([frame])
        assert found.score == wanted.image[0]
        assert found.anomaly_map.tobytes() == wanted.maps[0].tobytes()
    assert runtime.info["golden_drift"] == 0.0
    manifest = runtime.engine.manifest
    assert (manifest.method, manifest.head.levels) == ("grad", (34, 68, 136))
    assert manifest.anomaly_map.sigma == 3.0
    assert manifest.network.grid == (28, 28)
    assert manifest.training.settings == {"budget": "5m"}
    np.testing.assert_array_equal(
        runtime.engine.tensors["calibration/scores"],
        np.sort([pipeline.score([frame]).image[0] for frame in frames(5)]),
    )


@pytest.mark.parametrize(
    ("backend", "precision", "error"),
    [("openvino", "fp32", 1e-4), ("torch", "fp32", 1e-4), ("torch", "fp16", 0.01)],
)
def test_every_backend_opens_it(engine, backend, precision, error) -> None:
    pytest.importorskip(backend)
    wanted = [Runtime(engine, threads=1).infer(frame).score for frame in frames(3)]
    runtime = Runtime(engine, backend=backend, precision=precision, threads=1)
    for frame, score in zip(frames(3), wanted, strict=True):
        assert runtime.infer(frame).score == pytest.approx(score, rel=error)
        assert runtime.decide(frame).score == pytest.approx(score, rel=error)


def test_scores_are_those_of_the_model_that_was_trained(model, exported) -> None:
    pipeline = exported.pipeline()
    x = np.empty((1, 3, *SIZE), np.float32)
    for frame in frames(3):
        pipeline.write_input(frame, out=x)
        with torch.no_grad():
            fused = model(torch.from_numpy(x)).double().numpy()
        np.testing.assert_allclose(model_map(model, x), np.log1p(np.exp(fused[:, 0])), rtol=1e-12)
        wanted = np.log1p(np.exp(fused)).max()
        assert pipeline.score([frame]).image[0] == pytest.approx(wanted, rel=1e-5)
    assert 0 < check_agreement(model, pipeline, frames(3)) < 1e-5


def test_a_network_that_differs_is_refused(model, exported) -> None:
    other = GradModel(
        {level: model.detectors[str(level)] for level in LEVELS},
        preset="compact",
        input_size=SIZE,
        means=[0.31, -0.2, 0.1],
        deviations=[0.6, 0.7, 0.9],
    ).eval()
    with pytest.raises(BackendError, match=r"the exported network scores a picture .* torch"):
        check_agreement(other, exported.pipeline(), frames(4))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("deviations", 0.0, r"level 68: .*got -0.2 and 0"),
        ("deviations", float("nan"), r"level 68: .*got -0.2 and nan"),
        ("deviations", float("inf"), r"level 68: .*got -0.2 and inf"),
        ("means", float("nan"), r"level 68: .*got nan and 0.7"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(model, name, value, words) -> None:
    kept = getattr(model, name).clone()
    getattr(model, name)[1] = value
    try:
        with pytest.raises(BackendError, match=words):
            export_model(model, make_settings(resize=SIZE), preprocessing=PREPROCESSING)
    finally:
        getattr(model, name).copy_(kept)


def test_declared_frames_are_prepared_as_they_were_trained_on(model, tmp_path) -> None:
    spec = InputSpec(
        pixel_format="BGR8",
        window=None,
        size_policy="letterbox",
        frame_size=None,
        padding=90,
        tiling=None,
        mask=True,
    )
    mask = np.zeros((130, 121), np.uint8)
    mask[20:, :80] = 255
    exported = export_model(
        model,
        make_settings(resize=SIZE, preset="compact"),
        preprocessing=PREPROCESSING.model_copy(update={"color_order": "bgr"}),
        declared=declared_input(spec, mask),
    )
    pipeline = exported.pipeline()
    scores = np.array([0.1, 0.2], np.float32)
    path = export_engine(
        tmp_path / "part.pyad",
        exported,
        pipeline,
        Calibration(scores, scores),
        pictures=2,
        golden=np.stack(frames(1)),
        fingerprint="sha256:0",
        facts={},
    )
    runtime = Runtime(path)
    for frame in frames(3):
        assert runtime.infer(frame).score == pipeline.score([frame]).image[0]
        assert (runtime.infer(frame).anomaly_map == 0).any()
        assert (runtime.infer(frame).anomaly_map > 0).any()
    assert check_agreement(model, pipeline, frames(3)) < 1e-5  # what is left out agrees too
