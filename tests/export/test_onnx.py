"""Backbone export: the ONNX file answers like torch, says what it is, and refuses what is wrong."""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="exporting a network needs torch ([train])")
pytest.importorskip("timm", reason="exporting a network needs timm ([train])")
onnx = pytest.importorskip("onnx", reason="exporting a network needs onnx ([train])")

from shared_data import weights  # noqa: E402

from pyad_edge.backends import OnnxRuntimeBackend  # noqa: E402
from pyad_edge.errors import BackendError, SettingError  # noqa: E402
from pyad_edge.export import onnx as export_onnx  # noqa: E402
from pyad_edge.export.backbones import resolve_backbone  # noqa: E402
from pyad_edge.export.onnx import BackboneExport, export_backbone  # noqa: E402

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def timm_features(name: str, indices: tuple[int, ...], image: np.ndarray, file: Path | None) -> Any:
    """timm's own feature extractor, the independent form to compare with."""
    import timm
    from safetensors.torch import load_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        net = timm.create_model(name)
        if file is not None:
            net.load_state_dict(load_file(file), strict=False)
        state = net.state_dict()
        features = timm.create_model(name, features_only=True, out_indices=indices)
    known = features.state_dict()
    assert set(known) <= set(state)
    features.load_state_dict({key: state[key] for key in known})
    with torch.no_grad():
        return [f.numpy() for f in features.eval()(torch.from_numpy(image))]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def assert_same(done: BackboneExport, image: np.ndarray, wanted: Any) -> None:
    backend = OnnxRuntimeBackend(done.path.read_bytes(), outputs=done.layers)
    for a, b in zip(wanted, backend.run(image), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * np.abs(a).max())


@pytest.fixture(scope="module")
def random_r18(tmp_path_factory: pytest.TempPathFactory) -> BackboneExport:
    out = tmp_path_factory.mktemp("r18") / "r18.onnx"
    return export_backbone("resnet18", weights="random", layers="2,3", out=out)


def test_resnet18_weights_give_timms_features(tmp_path: Path) -> None:
    file = weights("resnet18_layer3")
    done = export_backbone("resnet18", weights=file, layers="2,3", out=tmp_path / "r18.onnx")
    assert done.layers == ("layer2", "layer3")
    assert done.channels == (128, 256)
    assert done.strides == (8, 16)
    assert done.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert done.max_relative_error < 1e-5
    assert "layer3 (256 channels, 1/16)" in done.statement()
    assert done.weights_sha256 in done.statement()
    assert done.size_bytes == done.path.stat().st_size < 12_000_000
    operators = {node.op_type for node in onnx.load(done.path).graph.node}
    assert operators == {"Conv", "Relu", "Add", "MaxPool"}
    for shape in ((1, 3, 75, 101), (3, 3, 64, 96)):
        image = noise(*shape)
        assert_same(done, image, timm_features("resnet18", (2, 3), image, file))


def test_efficientnet_weights_give_timms_features(tmp_path: Path) -> None:
    file = weights("tf_efficientnetv2_b0")
    done = export_backbone(
        "tf_efficientnetv2_b0", weights=file, layers=["2", "3"], out=tmp_path / "b0.onnx", opset=18
    )
    assert done.layers == ("layer2", "layer3")
    assert done.channels == (48, 112)
    assert (resolve_backbone(done.path).mean, resolve_backbone(done.path).std) == IMAGENET
    # Its "same" padding depends on the size: odd and even ones take different ways.
    for shape in ((1, 3, 75, 102), (2, 3, 64, 97)):
        image = noise(*shape)
        assert_same(done, image, timm_features("tf_efficientnetv2_b0", (2, 3), image, file))


def test_random_weights_are_seeded_and_the_file_repeats(
    random_r18: BackboneExport, tmp_path: Path
) -> None:
    image = noise(2, 3, 65, 90)
    assert_same(random_r18, image, timm_features("resnet18", (2, 3), image, None))
    again = export_backbone("resnet18", weights="random", layers="2,3", out=tmp_path / "again.onnx")
    assert again.path.read_bytes() == random_r18.path.read_bytes()
    other = export_backbone(
        "resnet18", weights="random", layers="1", out=tmp_path / "other.onnx", seed=1
    )
    assert other.weights_sha256 != random_r18.weights_sha256


def test_the_graph_is_plain_and_complete(random_r18: BackboneExport) -> None:
    proto = onnx.load(random_r18.path)
    # Identity: biases that are equal, as in an untrained network, are stored once.
    plain = {"Conv", "Relu", "Add", "MaxPool", "Identity"}
    assert {node.op_type for node in proto.graph.node} <= plain
    assert [i.name for i in proto.graph.input] == ["image"]
    assert [o.name for o in proto.graph.output] == ["layer2", "layer3"]
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["N", 3, "H", "W"]
    assert [entry.version for entry in proto.opset_import] == [17]
    # Cut behind layer3: the fifteen convolutions up to there and nothing of layer4 or fc.
    assert sum(node.op_type == "Conv" for node in proto.graph.node) == 15
    assert all(i.data_location != onnx.TensorProto.EXTERNAL for i in proto.graph.initializer)


def test_the_metadata_is_what_train_reads(random_r18: BackboneExport) -> None:
    proto = onnx.load(random_r18.path)
    about = json.loads({p.key: p.value for p in proto.metadata_props}["pyad_edge.backbone"])
    assert about == {
        "name": "resnet18",
        "weights_sha256": random_r18.weights_sha256,
        "mean": list(IMAGENET[0]),
        "std": list(IMAGENET[1]),
        "color_order": "rgb",
        "layers": ["layer2", "layer3"],
        "strides": [8, 16],
        "channels": [128, 256],
    }
    found = resolve_backbone(random_r18.path, layers="3")
    assert (found.layers, found.channels, found.strides) == (("layer3",), (256,), (16,))


def test_torchvision_networks_and_module_names(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    done = export_backbone(
        "torchvision:resnet18", weights="random", layers="layer2.0,1", out=tmp_path / "tv.onnx"
    )
    assert done.layers == ("layer2.0", "layer1")
    assert done.channels == (128, 64)
    assert done.strides == (8, 4)
    torch.manual_seed(0)
    net = resnet18().eval()
    image = noise(1, 3, 71, 64)
    with torch.no_grad():
        x = net.maxpool(net.relu(net.bn1(net.conv1(torch.from_numpy(image)))))
        layer1 = net.layer1(x)
        layer2_0 = net.layer2[0](layer1)
    assert_same(done, image, [layer2_0.numpy(), layer1.numpy()])


def test_an_activation_behind_a_layer_does_not_overwrite_it(tmp_path: Path) -> None:
    """torchvision's ReLUs work in place; features of bn1 must keep their negative half."""
    done = export_backbone(
        "torchvision:resnet18", weights="random", layers="bn1,layer1", out=tmp_path / "bn1.onnx"
    )
    backend = OnnxRuntimeBackend(done.path.read_bytes(), outputs=("bn1",))
    assert backend.run(noise(1, 3, 64, 64))[0].min() < 0


@pytest.mark.parametrize(
    ("name", "layers", "message"),
    [
        ("resnet18", "2,9", r"no layer '9'; it offers layer0 \(act1\), layer1, layer2"),
        ("resnet18", "layer3.7", r"no layer 'layer3\.7'"),
        ("resnet18", "fc", r"layer fc of resnet18 gives \(1, 1000\)"),
        ("resnet81", "2", r"timm .* has no network 'resnet81'; close names: resnet18"),
        ("torchvision:resnet81", "2", r"torchvision has no classifier 'resnet81'.*resnet18"),
        ("vit_tiny_patch16_224", "2", r"does not run on a picture of 256x192"),
    ],
)
def test_what_does_not_exist_or_cannot_be_cut_is_refused(
    tmp_path: Path, name: str, layers: str, message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        export_backbone(name, weights="random", layers=layers, out=tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_settings_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="opset 17 or 18, got 9"):
        export_backbone("resnet18", weights="random", layers="2", out=tmp_path / "x", opset=9)
    with pytest.raises(SettingError, match=r"folder of .*none/x\.onnx does not exist"):
        export_backbone("resnet18", weights="random", layers="2", out=tmp_path / "none" / "x.onnx")


def save_state(path: Path, change: Any) -> Path:
    """Random ResNet-18 weights after `change(state)`."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    state = timm.create_model("resnet18").state_dict()
    change(state)
    save_file(state, path)
    return path


def without(*prefixes: str) -> Any:
    def change(state: dict[str, Any]) -> None:
        for key in [k for k in state if k.startswith(prefixes)]:
            del state[key]

    return change


def test_only_what_lies_behind_the_last_layer_may_be_missing(tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    whole = save_state(tmp_path / "whole.safetensors", lambda state: None)
    cut = save_state(tmp_path / "cut.safetensors", without("layer3", "layer4", "fc"))
    export_backbone("resnet18", weights=whole, layers="2", out=out)
    wanted = onnx.load(out).graph
    export_backbone("resnet18", weights=cut, layers="2", out=out)
    assert onnx.load(out).graph == wanted
    before = out.read_bytes()
    with pytest.raises(BackendError, match=r"it lacks layer3\.0\.conv1\.weight.* more"):
        export_backbone("resnet18", weights=cut, layers="2,3", out=out)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer1.0.bn1.running_mean"), r"it lacks layer1\.0\.bn1\.running_mean\."),
        (lambda s: s.update({"stem.weight": torch.zeros(3)}), r"unknown: stem\.weight"),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"shapes: conv1\.weight \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)",
        ),
        (lambda s: s["conv1.weight"].fill_(float("nan")), r"with NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    file = save_state(tmp_path / "odd.safetensors", change)
    with pytest.raises(BackendError, match=message):
        export_backbone("resnet18", weights=file, layers="2", out=tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_files_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot read the weights .*none.*No such file"):
        export_backbone("resnet18", weights=tmp_path / "none", layers="2", out=tmp_path / "x.onnx")
    (tmp_path / "x.pth").write_bytes(b"\x80\x04" * 40)
    with pytest.raises(BackendError, match=r"x\.pth as safetensors.*can run code when opened"):
        export_backbone("resnet18", weights=tmp_path / "x.pth", layers="2", out=tmp_path / "x.onnx")


def test_an_unreachable_hub_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("Network is unreachable")

    # Read once at import, hence both; an empty cache, for the user's own may hold the weights.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    for name in ("resnet18", "torchvision:resnet18"):
        with pytest.raises(BackendError, match=rf"weights of {name} from the hub.*--weights FILE"):
            export_backbone(name, weights="hub", layers="2", out=tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_weights_from_the_hub_are_hashed_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download replaced, everything behind it real: torchvision gets a state from its hub."""
    from torchvision.models import resnet18

    torch.manual_seed(7)
    state = resnet18().state_dict()
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_args, **_kwargs: state
    )
    done = export_backbone(
        "torchvision:resnet18", weights="hub", layers="1", out=tmp_path / "hub.onnx"
    )
    random = export_backbone(
        "torchvision:resnet18", weights="random", layers="1", out=tmp_path / "7.onnx", seed=7
    )
    assert done.weights_sha256 == random.weights_sha256
    assert done.path.read_bytes() == random.path.read_bytes()


def test_a_graph_that_answers_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_onnx, "MAX_RELATIVE_ERROR", 0.0)
    with pytest.raises(BackendError, match="as ONNX differs from torch by"):
        export_backbone("resnet18", weights="random", layers="1", out=tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["torch", "timm", "onnx"])
def test_missing_packages_explain_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=rf"needs {package}.*pip install pyad_edge\[train\]"):
        export_backbone("resnet18", weights="random", layers="1", out=tmp_path / "x.onnx")


def test_exporters_keep_their_warnings_to_themselves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export_backbone("resnet18", weights="random", layers="1", out=tmp_path / "x.onnx")
    assert [str(w.message) for w in caught] == []
    assert capfd.readouterr() == ("", "")
