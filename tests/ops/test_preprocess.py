from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from ops.harness import check
from PIL import Image

from pyad_edge import ops
from pyad_edge.reference.preprocess import preprocess as plain

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Normalisation that gives grey levels.
GREY: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}
SIZES = [
    ((37, 53), (19, 31)),
    ((37, 53), (37, 53)),
    ((37, 53), (37, 20)),
    ((20, 31), (64, 47)),
    ((97, 11), (8, 40)),
    ((1, 1), (3, 5)),
    ((5, 7), (1, 1)),
    ((128, 96), (32, 32)),
    ((33, 250), (32, 7)),
    ((18, 150), (18, 150)),
]


def picture(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("size", "resize"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_the_reference_in_every_form(
    size: tuple[int, int], resize: tuple[int, int], channels: int
) -> None:
    image = picture(2, *size, channels)
    check(ops.preprocess, plain, image, resize=resize, mean=MEAN, std=STD, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_a_picture_that_is_only_cut_is_its_grey_levels_scaled(
    channels: int, order: Literal["rgb", "bgr"]
) -> None:
    image = picture(30, 200, channels)
    (found,) = check(
        partial(ops.preprocess, color_order=order),
        partial(plain, color_order=order),
        image,
        resize=(30, 200),
        crop=(20, 131),
        mean=MEAN,
        std=STD,
        atol=1e-6,
    )
    cut = image[5:25, 34:165] if channels == 3 else image[5:25, 34:165].repeat(3, axis=2)
    levels = cut[..., ::-1] if order == "bgr" else cut
    for c in range(3):
        for value in (0, 7, 255):
            same = found[0, c][levels[..., c] == value]
            assert len(np.unique(same)) == 1
            assert same[0] == pytest.approx((value / 255 - MEAN[c]) / STD[c], abs=1e-6)


@pytest.mark.parametrize(("size", "resize"), SIZES)
def test_agrees_with_pillow_within_one_grey_level(
    size: tuple[int, int], resize: tuple[int, int]
) -> None:
    image = picture(*size, 3)
    pillow = Image.fromarray(image).resize(resize[::-1], Image.Resampling.BILINEAR)
    ours = ops.preprocess(image, resize=resize, **GREY)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(ours, np.asarray(pillow, np.float32), atol=1.0)


@pytest.mark.parametrize("shape", [(37, 53), (53, 37), (40, 40), (97, 300), (20, 11)])
@pytest.mark.parametrize(
    ("resize", "crop"), [(32, None), (32, (31, 17)), (41, (28, 27)), (9, (9, 9))]
)
def test_agrees_with_torchvision_within_one_grey_level(
    shape: tuple[int, int], resize: int, crop: tuple[int, int] | None
) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    image = picture(*shape, 3)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    expected = functional.resize(tensor, [resize], antialias=True)
    exact = functional.resize(tensor.float(), [resize], antialias=True)
    if crop is not None:
        expected, exact = (functional.center_crop(t, list(crop)) for t in (expected, exact))
    ours = ops.preprocess(image, resize=resize, crop=crop, **GREY)[0]
    np.testing.assert_allclose(ours, expected.numpy().astype(np.float32), atol=1.0)
    np.testing.assert_allclose(ours, exact.numpy(), atol=1e-3)


@pytest.mark.parametrize("resize", [32, 50, (40, 44)])
def test_crop_is_a_part_of_the_whole_bit_for_bit(resize: int | tuple[int, int]) -> None:
    image = picture(61, 83, 3)
    whole = ops.preprocess(image, resize=resize, mean=MEAN, std=STD)
    crop = (27, 30)
    top, left = (round((side - c) / 2) for side, c in zip(whole.shape[2:], crop, strict=True))
    part = check(
        ops.preprocess, plain, image, resize=resize, crop=crop, mean=MEAN, std=STD, atol=1e-5
    )
    assert part[0].tobytes() == whole[:, :, top : top + 27, left : left + 30].tobytes()


def test_batch_equals_single_pictures_bit_for_bit() -> None:
    batch = picture(5, 45, 61, 3)
    together = ops.preprocess(batch, resize=(32, 28), mean=MEAN, std=STD)
    for n, image in enumerate(batch):
        alone = ops.preprocess(image, resize=(32, 28), mean=MEAN, std=STD)
        assert alone.tobytes() == together[n].tobytes()


@pytest.mark.parametrize("resize", [(24, 32), (48, 64)])
def test_views_equal_copies_bit_for_bit(resize: tuple[int, int]) -> None:
    image = picture(48, 64, 3)
    wide = picture(48, 100, 3)
    frames = picture(3, 48, 64, 4)
    views = [
        image[::-1],
        image[:, ::-1],
        image[..., ::-1],
        image[::-1, ::-1, ::-1],
        wide[:, 20:84],
        frames[1, :, :, :3],
        np.asfortranarray(image),
        image.transpose(1, 0, 2)[:48, :48],
    ]
    for view in views:
        ours = ops.preprocess(view, resize=resize, mean=MEAN, std=STD)
        copy = ops.preprocess(np.ascontiguousarray(view), resize=resize, mean=MEAN, std=STD)
        assert ours.tobytes() == copy.tobytes()


@pytest.mark.parametrize("resize", [(24, 32), (48, 64)])
def test_bgr_is_rgb_with_channels_reversed(resize: tuple[int, int]) -> None:
    image = picture(48, 64, 3)
    settings: dict[str, Any] = {"resize": resize, "mean": MEAN, "std": STD}
    rgb = ops.preprocess(image, **settings)
    for view in (image[..., ::-1], np.ascontiguousarray(image[..., ::-1])):
        assert ops.preprocess(view, color_order="bgr", **settings).tobytes() == rgb.tobytes()
    check(ops.preprocess, plain, image, color_order="bgr", atol=1e-5, **settings)


@pytest.mark.parametrize("resize", [(24, 32), (48, 64), (60, 70)])
def test_mono_repeats_one_channel(resize: tuple[int, int]) -> None:
    mono = picture(48, 64)
    color = np.repeat(mono[..., None], 3, axis=2)
    expected = ops.preprocess(color, resize=resize, mean=MEAN, std=STD)
    for image in (mono, mono[..., None], mono[None, ..., None], mono[..., None][..., ::-1]):
        ours = ops.preprocess(image, resize=resize, mean=MEAN, std=STD)
        assert ours.tobytes() == expected.tobytes()


def test_same_size_gives_the_exact_grey_levels() -> None:
    image = picture(9, 11, 3)
    ours = ops.preprocess(image, resize=9, mean=(0.0,) * 3, std=(1.0,) * 3)[0]
    np.testing.assert_allclose(ours, image.transpose(2, 0, 1) / np.float32(255), rtol=1e-6)


def test_writes_into_out() -> None:
    image = picture(20, 30, 3)
    batch = np.full((2, 3, 16, 16), np.nan, np.float32)
    view = batch[1:]
    result = ops.preprocess(image, resize=(16, 16), mean=MEAN, std=STD, out=view)
    assert result is view
    assert np.isnan(batch[0]).all()
    expected = ops.preprocess(image, resize=(16, 16), mean=MEAN, std=STD)
    assert batch[1:].tobytes() == expected.tobytes()


def test_no_pictures_give_no_rows() -> None:
    empty = ops.preprocess(picture(0, 5, 6, 3), resize=(4, 4), mean=MEAN, std=STD)
    assert empty.shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("image", "changes", "error", "words"),
    [
        (np.zeros((4, 4, 3)), {}, TypeError, "uint8, got float64"),
        ("picture", {}, TypeError, "got str"),
        (picture(4, 4, 4), {}, ValueError, "alpha"),
        (picture(0, 4, 3), {}, ValueError, "none of it empty"),
        (picture(2, 2, 4, 4, 3), {}, ValueError, r"\(2, 2, 4, 4, 3\)"),
        (picture(4, 4, 3), {"resize": 0}, ValueError, "got 0"),
        (picture(4, 4, 3), {"resize": (4, -1)}, ValueError, r"got \(4, -1\)"),
        (picture(4, 4, 3), {"resize": (4.5, 4)}, ValueError, "whole pixels"),
        (picture(4, 4, 3), {"crop": (9, 2)}, ValueError, "smaller crop"),
        (picture(4, 4, 3), {"std": (1.0, 0.0, 1.0)}, ValueError, "above zero"),
        (picture(4, 4, 3), {"std": (1.0, np.nan, 1.0)}, ValueError, "got mean=.* nan"),
        (picture(4, 4, 3), {"std": (np.inf, 1.0, 1.0)}, ValueError, "inf, 1.0"),
        (picture(4, 4, 3), {"std": (1e-320, 1.0, 1.0)}, ValueError, "leaves the range of float32"),
        (picture(4, 4, 3), {"std": (1.0, 1.0, 1e37)}, ValueError, "leaves the range of float32"),
        (picture(4, 4, 3), {"mean": (1e300, 1.0, 1.0)}, ValueError, "leaves the range of float32"),
        (picture(4, 4, 3), {"mean": ("a", "b", "c")}, ValueError, "three channels"),
        (picture(4, 4, 3), {"mean": (0.5,)}, ValueError, "three channels"),
        (picture(4, 4, 3), {"resize": 16385}, ValueError, "to 16384, got 16385"),
        (picture(4, 4, 3), {"resize": 10**400}, ValueError, "to 16384, got 1000"),
        (picture(4, 4, 3), {"resize": (4, 20000)}, ValueError, r"got \(4, 20000\)"),
        (picture(4, 4, 3), {"resize": "large"}, ValueError, "got 'large'"),
        (picture(4, 4, 3), {"resize": None}, ValueError, "got None"),
        (picture(4, 4, 3), {"crop": (2, np.nan)}, ValueError, "smaller crop"),
        (picture(1, 100000, 3), {"resize": 256}, ValueError, "picture of .1, 100000. with"),
        (picture(4, 4, 3), {"color_order": "RGB"}, ValueError, "'bgr', got 'RGB'"),
        (picture(4, 4, 3), {"out": np.zeros((1, 3, 8, 8))}, TypeError, "float32"),
        (
            picture(4, 4, 3),
            {"out": np.zeros((1, 3, 9, 8), np.float32)},
            ValueError,
            r"\(1, 3, 8, 8\)",
        ),
    ],
)
def test_refuses_with_a_sentence(
    image: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    settings: dict[str, Any] = {"resize": (8, 8), "mean": MEAN, "std": STD, **changes}
    with pytest.raises(error, match=words) as caught:
        ops.preprocess(image, **settings)
    assert str(caught.value).startswith("[preprocess]")
