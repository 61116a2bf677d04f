from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyad_edge import ops
from pyad_edge.ops import cuda

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(cuda.device_count() == 0, reason="no CUDA device here"),
]

NORM: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def picture(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


class Strided:
    """A view of a device array as torch or CuPy give it."""

    def __init__(self, base: cuda.DeviceArray, view: NDArray[np.uint8], host: Any) -> None:
        first = view.__array_interface__["data"][0] - host.__array_interface__["data"][0]
        self.base = base
        self.__cuda_array_interface__ = {
            "shape": view.shape,
            "typestr": "|u1",
            "data": (base.pointer + first, True),
            "version": 3,
            "strides": view.strides,
            "stream": None,
        }


class Exported:
    """The same by DLPack. NumPy makes the capsule; it never reads the memory."""

    def __init__(self, base: cuda.DeviceArray, view: NDArray[np.uint8], host: Any) -> None:
        memory = (ctypes.c_ubyte * base.nbytes).from_address(base.pointer)
        first = view.__array_interface__["data"][0] - host.__array_interface__["data"][0]
        self.base = base
        self.view: NDArray[np.uint8] = np.ndarray(
            view.shape, np.uint8, memory, first, strides=view.strides
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int) -> Any:
        assert stream == 1
        return self.view.__dlpack__()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((37, 53), {"resize": (19, 31)}),
        ((37, 53), {"resize": (37, 53)}),
        ((20, 31), {"resize": (64, 47)}),
        ((97, 300), {"resize": 32, "crop": (31, 17)}),
        ((9, 1300), {"resize": (4, 40)}),  # rows longer than a piece
        ((1, 1), {"resize": (3, 5)}),
    ],
)
def test_bit_equal_to_the_cpu(
    channels: int, size: tuple[int, int], settings: dict[str, Any]
) -> None:
    image = picture(2, *size, channels)
    for color_order in ("rgb", "bgr"):
        ours = cuda.preprocess(image, color_order=color_order, **settings, **NORM)
        expected = ops.preprocess(image, color_order=color_order, **settings, **NORM)
        assert ours.tobytes() == expected.tobytes()


@pytest.mark.parametrize("given", [Strided, Exported])
@pytest.mark.parametrize("resize", [(24, 32), (48, 64), (60, 70)])
def test_views_on_the_device_are_read_in_place(resize: tuple[int, int], given: Any) -> None:
    host = picture(3, 48, 64, 4)
    base = cuda.DeviceArray.from_numpy(host)
    views = [
        host[..., :3],
        host[:, ::-1, :, 1:],
        host[:, :, ::-1, 2::-1],
        host[1:, 3:40, 5:, :3],
        host[::2, ..., :1],
        host[1, :, :, 2],
        host[2].transpose(1, 0, 2)[..., :3],
    ]
    for view in views:
        ours = cuda.preprocess(given(base, view, host), resize=resize, **NORM)
        assert ours.numpy().tobytes() == ops.preprocess(view, resize=resize, **NORM).tobytes()


def test_packed_rows_that_start_anywhere() -> None:
    """Rows at multiples of four are read four bytes at a time, others byte by byte."""
    host = picture(40 * 61 * 3 + 8)
    base = cuda.DeviceArray.from_numpy(host)
    for first in range(4):
        for width in (60, 61):
            view = host[first : first + 40 * width * 3].reshape(40, width, 3)
            ours = cuda.preprocess(Strided(base, view, host), resize=(17, 23), **NORM)
            expected = ops.preprocess(view, resize=(17, 23), **NORM)
            assert ours.numpy().tobytes() == expected.tobytes()


def test_writes_into_out() -> None:
    image = picture(20, 30, 3)
    out = cuda.DeviceArray.from_numpy(np.full((1, 3, 16, 16), np.nan, np.float32))
    assert cuda.preprocess(image, resize=(16, 16), out=out, **NORM) is out
    assert out.numpy().tobytes() == ops.preprocess(image, resize=(16, 16), **NORM).tobytes()


def test_no_pictures_give_no_rows() -> None:
    assert cuda.preprocess(picture(0, 5, 6, 3), resize=(4, 4), **NORM).shape == (0, 3, 4, 4)


def test_refuses_with_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"\[preprocess\].*uint8, got float64"):
        cuda.preprocess(np.zeros((4, 4, 3)), resize=8, **NORM)
    on_device = cuda.DeviceArray.from_numpy(picture(4, 4, 4))
    with pytest.raises(ValueError, match=r"\[preprocess\].*got \(4, 4, 4\)\. Drop an alpha"):
        cuda.preprocess(on_device, resize=8, **NORM)
    with pytest.raises(TypeError, match=r"\[preprocess\].*uint8 array, got float32"):
        cuda.preprocess(cuda.DeviceArray((4, 4, 3), np.float32), resize=8, **NORM)
    out = cuda.DeviceArray((1, 3, 9, 8), np.float32)
    with pytest.raises(ValueError, match=r"out of shape \(1, 3, 8, 8\), got \(1, 3, 9, 8\)"):
        cuda.preprocess(picture(4, 4, 3), resize=(8, 8), out=out, **NORM)
