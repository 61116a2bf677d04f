"""density_weights as a torch operator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pyad_edge import ops
from pyad_edge.export.torch_ops import CHUNK, density_weights
from pyad_edge.ops import cuda

needs_device = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        cuda.device_count() == 0 or not torch.cuda.is_available(), reason="no CUDA device here"
    ),
]
DEVICES = ["cpu", pytest.param("cuda", marks=needs_device)]


def rows(seed: int, *shape: int, device: str = "cpu") -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def plain(features: torch.Tensor, queue: torch.Tensor, beta: float) -> torch.Tensor:
    normalize = torch.nn.functional.normalize
    return -torch.logsumexp(beta * normalize(features) @ normalize(queue).T, 1)


@pytest.mark.parametrize("device", DEVICES)
def test_has_the_bits_of_the_kernel(device: str) -> None:
    features, queue = rows(0, 33, 20), rows(1, 200, 20)
    expected = ops.density_weights(features.numpy(), queue.numpy(), beta=8.0)
    out = density_weights(features.to(device), queue.to(device), beta=8.0)
    assert out.device.type == device
    np.testing.assert_array_equal(out.cpu().numpy(), expected)
    transposed = density_weights(features.to(device).T.clone().T, queue.to(device), beta=8.0)
    np.testing.assert_array_equal(transposed.cpu().numpy(), expected)


def test_tensors_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def kernel(features: np.ndarray, queue: np.ndarray, *, beta: float) -> np.ndarray:
        seen.extend([features.ctypes.data, queue.ctypes.data])
        return np.zeros(len(features), np.float32)

    monkeypatch.setattr(ops, "density_weights", kernel)
    features, queue = rows(0, 4, 3).requires_grad_(), rows(1, 5, 3)
    density_weights(features, queue, beta=1.0)
    assert seen == [features.data_ptr(), queue.data_ptr()]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("Q", [1, 7, CHUNK + 5])
@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)])
def test_gradient_is_that_of_the_plain_form(device: str, Q: int, wanted: tuple[bool, bool]) -> None:
    inputs = [
        rows(seed, n, 17, device=device).requires_grad_(want)
        for seed, n, want in zip((2, 3), (9, Q), wanted, strict=True)
    ]
    exact = [leaf.detach().double().requires_grad_(leaf.requires_grad) for leaf in inputs]
    outer = rows(4, 9, device=device)
    (density_weights(*inputs, beta=6.0) * outer).sum().backward()
    (plain(*exact, 6.0) * outer.double()).sum().backward()
    for leaf, other in zip(inputs, exact, strict=True):
        if leaf.requires_grad:
            torch.testing.assert_close(leaf.grad.double(), other.grad, rtol=2e-3, atol=2e-4)
        else:
            assert leaf.grad is None


def test_gradcheck() -> None:
    # Numeric differences see the 16-bit fixed point: wide steps, loose bounds.
    features, queue = (rows(seed, 4, 3) for seed in (5, 6))
    leaves = [torch.nn.functional.normalize(leaf).requires_grad_() for leaf in (features, queue)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*double precision.*")
        assert torch.autograd.gradcheck(
            lambda x, z: density_weights(x, z, beta=2.0), leaves, eps=0.02, atol=0.02, rtol=0.02
        )


def test_rows_of_zeros_get_no_gradient() -> None:
    features, queue = rows(7, 3, 5), rows(8, 4, 5)
    features[1], queue[2] = 0, 0
    leaves = features.requires_grad_(), queue.requires_grad_()
    density_weights(*leaves, beta=3.0).sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(queue.grad).all()
    assert not features.grad[1].any()
    assert not queue.grad[2].any()


# opcheck itself looks at the gradients of tensors that are no leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("device", DEVICES)
def test_opcheck(device: str) -> None:
    for wanted in (True, False):
        leaf = rows(9, 6, 5, device=device).requires_grad_(wanted)
        torch.library.opcheck(
            torch.ops.pyad_edge.density_weights, (leaf, rows(10, 11, 5, device=device), 4.0)
        )


def test_compiles_without_a_break() -> None:
    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss(features: torch.Tensor, queue: torch.Tensor) -> torch.Tensor:
        return torch.softmax(density_weights(features, queue, beta=5.0), 0).square().sum()

    queue = rows(11, 40, 6)
    compiled, eager = (rows(12, 9, 6).requires_grad_() for _ in range(2))
    loss(compiled, queue).backward()
    torch.softmax(density_weights(eager, queue, beta=5.0), 0).square().sum().backward()
    torch.testing.assert_close(compiled.grad, eager.grad)


def test_refuses_with_a_sentence() -> None:
    features = rows(13, 4, 3)
    with pytest.raises(TypeError, match=r"queue as a float32 tensor, got torch.float64.*\.float"):
        density_weights(features, features.double(), beta=1.0)
    with pytest.raises(ValueError, match="expected queue on cpu as features, got meta"):
        density_weights(features, features.to("meta"), beta=1.0)
    with pytest.raises(ValueError, match=r"queue of shape \(Q, 3\).*got \(0, 3\)"):
        density_weights(features, features[:0], beta=1.0)
    with pytest.raises(ValueError, match="0 < beta <= 1000, got 0"):
        density_weights(features, features, beta=0)
    features[2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"features contains NaN .*first in row 2"):
        density_weights(features, rows(14, 5, 3), beta=1.0)
