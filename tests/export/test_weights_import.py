"""Foreign checkpoints: tensors come out, code does not run, everything else is refused."""

from __future__ import annotations

import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import call
from safetensors.numpy import load_file

from pyad_edge.errors import BackendError, DataError, SettingError
from pyad_edge.export.weights_import import child
from pyad_edge.export.weights_import.command import import_weights

WEIGHTS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.ones(2)}


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_tensors_come_out_under_their_names(tmp_path: Path) -> None:
    source, out = tmp_path / "w.pth", tmp_path / "w.safetensors"
    wrapped = {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}
    torch.save({"state_dict": wrapped, "epoch": 3, "optimizer": {"lr": 0.1}}, source)
    answer = call("backbone", "import", source, "--out", out)
    assert answer.code == 0
    assert "is a pickle: a program that runs" in answer.err.replace("\n", " ")
    assert "2 tensors" in answer.err
    assert "left out: epoch, optimizer" in answer.err
    found = load_file(out)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.pth", "w.safetensors"]


@pytest.mark.parametrize("form", ["archive", "inside a list", "bare pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, form: str) -> None:
    witness, source = tmp_path / "it ran", tmp_path / "w.pth"
    evil = Malicious(witness)
    if form == "bare pickle":
        source.write_bytes(pickle.dumps({"a": evil}))
    else:
        torch.save({**WEIGHTS, "a": evil if form == "archive" else [evil]}, source)
    out = tmp_path / "w.safetensors"
    out.write_bytes(b"what was there")
    with pytest.raises(BackendError, match=r"holds more than tensors, or is damaged.*Nothing was"):
        import_weights(source, out)
    assert not witness.exists()
    assert out.read_bytes() == b"what was there"
    if form == "bare pickle":  # that the file does what it says
        pickle.loads(source.read_bytes())
        assert witness.exists()


def test_an_archive_with_foreign_code_in_place_of_its_pickle(tmp_path: Path) -> None:
    source, changed = tmp_path / "w.pth", tmp_path / "x.pth"
    torch.save(WEIGHTS, source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            evil = pickle.dumps(Malicious(tmp_path / "it ran"), protocol=2)
            new.writestr(name, evil if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(BackendError, match="holds more than tensors"):
        import_weights(changed, tmp_path / "w.safetensors")
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([torch.ones(1)], "holds list, not tensors by name"),
        ({}, "holds dict, not tensors by name"),
        ({**WEIGHTS, "epoch": 3}, "has int for 'epoch', not a tensor"),
        ({"a": {"b": torch.ones(1)}}, "has dict for 'a', not a tensor"),
        ({"a": torch.tensor([1.0, torch.nan])}, "holds NaN or infinity in 'a'"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "sparse, quantised or complex"),
        ({"a": torch.eye(2).to_sparse()}, "sparse, quantised or complex"),
        ({"../../etc/passwd\n": torch.ones(1)}, "unusable name"),
        ({3: torch.ones(1)}, "unusable name '3'"),
    ],
)
def test_what_is_not_tensors_by_name(content: Any, why: str) -> None:
    with pytest.raises(child._RefusedError, match=why):
        child.flat_tensors(content)


def test_views_of_one_storage_become_tensors_of_their_own() -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    found, dropped = child.flat_tensors({"model": {"a": whole, "b": whole.T}})
    assert dropped == []
    assert found["b"].is_contiguous()
    torch.testing.assert_close(found["b"], whole.T, rtol=0, atol=0)
    assert found["a"].data_ptr() != whole.data_ptr()


def test_an_older_torch_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with pytest.raises(child._RefusedError, match=r"torch 2\.9\.1 does not read those safely; ver"):
        child._convert(str(tmp_path / "w.pth"), str(tmp_path / "w.safetensors"))


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match=r"none\.pth: No such file"):
        import_weights(tmp_path / "none.pth", out)
    with pytest.raises(SettingError, match=r"FILE\.safetensors in a folder that exists"):
        import_weights(tmp_path / "none.pth", tmp_path / "w.pth")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(BackendError, match="is damaged"):
        import_weights(tmp_path / "empty.pth", out)
    assert not out.exists()


def test_a_process_that_ends_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed by a limit, silent, or talking nonsense: refused, never believed."""
    source = tmp_path / "w.pth"
    source.write_bytes(b"x")
    module, run = tmp_path / "child.py", subprocess.run
    for script, why in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "signal 24"),
        ("print('nonsense')", "code 0"),
        ("raise SystemExit(3)", "code 3"),
        ("print('{}')", "left no tensors behind"),
        ("import sys; open(sys.argv[2], 'w').write('no'); print('{}')", "not become a safetensors"),
    ):
        module.write_text(script)

        def replaced(command: list[str], **options: Any) -> Any:
            return run([command[0], str(module), *command[-2:]], **options)

        monkeypatch.setattr("pyad_edge.export.weights_import.command.subprocess.run", replaced)
        with pytest.raises(BackendError, match=why):
            import_weights(source, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
