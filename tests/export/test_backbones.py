"""Backbones from ONNX files: metadata, layers, foreign files and refusals. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="building tiny networks needs onnx")

from tiny_models import edit_model, tiny_backbone

from pyad_edge.errors import BackendError, SettingError
from pyad_edge.export import backbones
from pyad_edge.export.backbones import parse_layers, resolve_backbone

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_backbone((8, 16, 24)))
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_backbone((8, 16), metadata=False))
    return path


def test_a_file_tells_everything_about_itself(tiny: Path) -> None:
    found = resolve_backbone(tiny)
    assert found.name == "tiny"
    assert found.model == tiny.read_bytes()
    assert found.onnx_sha256 == hashlib.sha256(found.model).hexdigest()
    assert found.weights_sha256 is not None
    assert len(found.weights_sha256) == 64
    assert found.weights_sha256 != found.onnx_sha256
    assert found.layers == ("layer2", "layer3", "layer4")
    assert found.channels == (8, 16, 24)
    assert found.strides == (8, 16, 32)
    assert (found.mean, found.std, found.color_order) == (MEAN, STD, "rgb")
    assert len(repr(found)) < 1000  # the model's bytes stay out of messages


@pytest.mark.parametrize("layers", ["3,2", "layer3,layer2", ["3", "layer2"], ("3, 2",)])
def test_layers_by_number_or_name_in_the_given_order(tiny: Path, layers: Any) -> None:
    found = resolve_backbone(str(tiny), layers=layers)
    assert found.layers == ("layer3", "layer2")
    assert found.channels == (16, 8)
    assert found.strides == (16, 8)


@pytest.mark.parametrize("layers", ["", ",", "2,,3", "2,2", "2,layer2", []])
def test_layers_that_say_nothing_or_twice_are_refused(layers: Any) -> None:
    with pytest.raises(SettingError, match="expected layers such as `2,3`"):
        parse_layers(layers)


def test_missing_layers_are_named_beside_those_that_exist(tiny: Path) -> None:
    with pytest.raises(BackendError, match=r"no layer layer7; it offers layer2, layer3, layer4\."):
        resolve_backbone(tiny, layers="2,7")


def test_a_foreign_file_needs_its_preprocessing(foreign: Path) -> None:
    message = r"; mean and std must be given.*--mean A,B,C --std A,B,C.*`pyad-edge backbone export`"
    with pytest.raises(BackendError, match=message):
        resolve_backbone(foreign)
    with pytest.raises(BackendError, match=r"; std must be given"):
        resolve_backbone(foreign, mean=MEAN, color_order="rgb")
    assert resolve_backbone(foreign, mean=MEAN, std=STD).color_order == "rgb"


def test_a_foreign_file_is_measured(foreign: Path) -> None:
    found = resolve_backbone(foreign, layers="2,3", mean=MEAN, std=STD, color_order="bgr")
    assert found.name == "foreign"
    assert found.layers == ("layer2", "layer3")
    assert found.channels == (8, 16)
    assert found.strides == (8, 16)
    assert found.color_order == "bgr"
    assert found.weights_sha256 is None


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"std": (1, 1, 0)}, "std"),
        ({"std": (1, 1)}, "std"),
        ({"mean": (float("nan"), 0, 0)}, "mean"),
        ({"color_order": "gbr"}, "color_order"),
    ],
)
def test_impossible_preprocessing_is_refused(
    foreign: Path, wrong: dict[str, Any], word: str
) -> None:
    given = {"mean": MEAN, "std": STD, "color_order": "rgb"} | wrong
    with pytest.raises(SettingError, match=f"{word} of .*foreign.onnx cannot be"):
        resolve_backbone(foreign, **given)


def test_preprocessing_cannot_contradict_the_file(tiny: Path) -> None:
    with pytest.raises(SettingError, match="states its own pre-processing, so mean, std cannot"):
        resolve_backbone(tiny, mean=MEAN, std=STD)


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda about: about.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("mean"), "mean: Field required"),
        (lambda about: about.update(weights_sha256="abc"), "weights_sha256"),
        (lambda about: about.update(std=[1, 1, -1]), "std.2"),
        (lambda about: about.update(color_order="grey"), "color_order"),
        (lambda about: about.update(strides=[8]), "one entry for each layer"),
        (lambda about: about.update(channels=[8, 99]), r"have \(8, 99\) channels.*\(8, 16\)"),
    ],
)
def test_metadata_that_is_broken_or_untrue_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    about = {
        "name": "tiny",
        "weights_sha256": "0" * 64,
        "mean": MEAN,
        "std": STD,
        "color_order": "rgb",
        "layers": ["layer2", "layer3"],
        "strides": [8, 16],
        "channels": [8, 16],
        "license_note": "entries that we do not know are left alone",
    }
    path = tmp_path / "odd.onnx"
    path.write_bytes(edit_model(tiny_backbone(), pyad_edge__backbone=json.dumps(about)))
    assert resolve_backbone(path).weights_sha256 == "0" * 64
    unknown = json.dumps(about | {"weights_sha256": None})
    path.write_bytes(edit_model(tiny_backbone(), pyad_edge__backbone=unknown))
    assert resolve_backbone(path).weights_sha256 is None
    change(about)
    path.write_bytes(edit_model(tiny_backbone(), pyad_edge__backbone=json.dumps(about)))
    with pytest.raises(BackendError, match=message):
        resolve_backbone(path)


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2", "torchvision:resnet18"])
def test_names_of_networks_lead_to_the_export(name: str) -> None:
    with pytest.raises(BackendError, match=f"pyad-edge backbone export {name} --weights hub"):
        resolve_backbone(name, layers="2,3")


def test_weights_are_not_a_network() -> None:
    with pytest.raises(BackendError, match=r"holds weights, not a network.*--weights r18.safetens"):
        resolve_backbone("r18.safetensors")


def test_files_that_cannot_be_read_or_run(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot read .*none\.onnx: No such file"):
        resolve_backbone(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BackendError, match=r"cannot read .*folder\.onnx"):
        resolve_backbone(tmp_path / "folder.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(BackendError, match=r"empty\.onnx is refused: it is no ONNX file"):
        resolve_backbone(tmp_path / "empty.onnx")


def test_a_lost_embedded_backbone_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones.resources, "files", lambda _package: tmp_path)
    with pytest.raises(BackendError, match="lacks the embedded backbone 'edge18'"):
        resolve_backbone("edge18")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "edge18.onnx").write_bytes(tiny_backbone())
    assert resolve_backbone("edge18").layers == ("layer2", "layer3")


def test_needs_neither_torch_nor_onnx(tiny: Path) -> None:
    code = """
import sys
for name in ("torch", "torchvision", "timm", "onnx"):
    sys.modules[name] = None
from pyad_edge.export.backbones import resolve_backbone
print(resolve_backbone(sys.argv[1], layers="2,3").channels)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tiny)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "(8, 16)"
