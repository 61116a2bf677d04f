"""Real features for the kernels' benchmarks, built once and kept outside the repository.

    python benchmarks/features.py            # builds them and says where they are
    python benchmarks/features.py --out FILE # the same into one .npz, to carry to another machine

ResNet-18 layers 2+3 on Magnetic Tile Defects at 224 px, 784 patches a picture:

- ``points``: 160,000 patches of good tiles, 384 dims, projected to 128: what a coreset is taken of;
- ``bank``: 16,384 rows, a greedy coreset (10 %) of 209 good tiles, embedded to 1,024 dims as the
  official PatchCore does it for WideResNet-50-2;
- ``queries``: the patches of 12 unseen pictures, good and defective, one block a picture.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIZE, PICTURES, POINTS, ROWS, DIM = 224, 209, 160_000, 16_384, 1024
UNSEEN = 12
FILE = f"mtd-resnet18-{SIZE}px-{PICTURES}pictures-{ROWS}x{DIM}.npz"


class NoFeatures(Exception):  # noqa: N818 - a reason, not a fault
    """Why there are no real features here, in one sentence."""


@dataclass(frozen=True)
class Features:
    """Patches of real pictures.

    Attributes:
        points: (160000, 128), projected.
        bank: (16384, 1024).
        queries: (12, 784, 1024), a block a picture.
        defective: (12,), whether that picture has a defect.
        source: what they are, in words.
    """

    points: Array
    bank: Array
    queries: Array
    defective: NDArray[np.bool_]
    source: str


def cache_file() -> Path:
    """Where built features are kept: ``$PYAD_EDGE_CACHE``, else the user's cache folder."""
    folder = os.environ.get("PYAD_EDGE_CACHE")
    base = Path(folder) if folder else Path.home() / ".cache" / "pyad_edge"
    return base / "benchmarks" / FILE


def features(file: Path | None = None) -> Features:
    """Load the features, after building them where this was not done yet.

    Args:
        file: an ``.npz`` made by this script; none: the cache.

    Raises:
        NoFeatures: where they can be neither loaded nor built.
    """
    if file is not None and not file.is_file():
        raise NoFeatures(f"there is no file {file}; python benchmarks/features.py --out makes it")
    file = file or cache_file()
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        _save(_build(), file)
    with np.load(file, allow_pickle=False) as found:
        return Features(
            found["points"],
            found["bank"],
            found["queries"],
            found["defective"],
            str(found["source"]),
        )


def _save(made: Features, file: Path) -> None:
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as out:
        np.savez(out, **vars(made))
    part.replace(file)  # never a half-written cache


def _build() -> Features:
    try:
        from mtd_patchcore import resnet18
        from report import mtd_pictures

        from pyad_edge import ops, read_image
        from pyad_edge.backends.onnxruntime import OnnxRuntimeBackend
        from pyad_edge.errors import PyadError
    except ImportError as error:
        raise NoFeatures(f"building them needs the extras [train,dev]: {error}") from error
    try:
        train, test, is_defect = mtd_pictures()
        backbone = resnet18()
    except PyadError as error:
        raise NoFeatures(f"the backbone cannot be made: {error}") from error
    except SystemExit as error:  # the shared data or weights are not here
        raise NoFeatures(str(error)) from error
    backend = OnnxRuntimeBackend(backbone.model, outputs=backbone.layers)

    def patches(path: Path, dim: int) -> Array:
        batch = ops.preprocess(
            read_image(path), resize=(SIZE, SIZE), mean=backbone.mean, std=backbone.std
        )
        maps = backend.run(batch)
        return ops.patch_aggregation(maps, pre_dim=dim, target_dim=dim).reshape(-1, dim)

    def all_of(paths: list[Path], dim: int) -> Array:
        return np.concatenate([patches(path, dim) for path in paths])

    matrix = ops.random_projection(384, seed=0)
    points = np.concatenate([ops.project(patches(p, 384), matrix) for p in train[:PICTURES]])
    embedded = all_of(train[:PICTURES], DIM)
    projected = ops.project(embedded, ops.random_projection(DIM, seed=0))
    start = ops.start_distances(projected, seed=0)
    bank = embedded[ops.greedy_coreset(projected, count=ROWS, initial=start)]
    step = len(test) // UNSEEN
    unseen, defective = test[::step][:UNSEEN], is_defect[::step][:UNSEEN]
    return Features(
        points[:POINTS],
        bank,
        all_of(unseen, DIM).reshape(UNSEEN, -1, DIM),
        defective,
        f"ResNet-18 layers 2+3 on Magnetic Tile Defects, {SIZE} px",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="real features for the kernels' benchmarks")
    parser.add_argument("--out", type=Path, help="write them to this .npz as well")
    options = parser.parse_args()
    try:
        made = features()
    except NoFeatures as reason:
        raise SystemExit(f"No features: {reason}") from reason
    if options.out is not None:
        _save(made, options.out)
    shapes = {name: getattr(made, name).shape for name in ("points", "bank", "queries")}
    print(f"{made.source}: {shapes}, in {options.out or cache_file()}")


if __name__ == "__main__":
    main()
