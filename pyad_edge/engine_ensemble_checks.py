"""What the further members of an ensemble must agree with: the first, their tensors, the fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyad_edge.engine_common_checks import TensorForms, check_sizes
from pyad_edge.engine_input import tiling_fault
from pyad_edge.engine_manifest import Fusion, Manifest, Member, MemoryBankHead, member_tensor

__all__ = ["check_ensemble", "ensemble_tensors"]


def ensemble_tensors(manifest: Manifest) -> TensorForms:
    """Dtypes and shapes of the further members' tensors; their letters end in the number."""
    forms: TensorForms = {}
    for i in range(1, 1 + len(manifest.members or ())):
        forms |= {
            member_tensor(i, "network/onnx"): ("uint8", (f"bytes of model {i}",)),
            member_tensor(i, "bank/features"): ("float32", (f"M{i}", f"D{i}")),
            member_tensor(i, "bank/sources"): ("int32", (f"M{i}", 3)),
        }
    return forms


def check_ensemble(
    manifest: Manifest,
    sizes: Mapping[str, int],
    *,
    check_head: Callable[[MemoryBankHead, int, int], str | None],
) -> str | None:
    """Members that see the same pixels, each fit for its bank, and a fusion of all of them.

    Args:
        manifest: whose tensor table has been matched.
        sizes: the letters' values, ``M1``, ``D1`` and so on.
        check_head: a head against its bank of M rows and D dimensions.
    """
    members, fusion = manifest.members, manifest.fusion
    if (members is None) != (fusion is None):
        return "a fusion belongs to the members of an ensemble, and they to a fusion"
    if members is None or fusion is None:
        return None
    for i, member in enumerate(members, start=1):
        if wrong := (
            _check_pixels(manifest, member)
            or check_sizes(member.preprocessing, member.network)
            or _check_network(manifest, i, member)
            or check_head(member.head, sizes[f"M{i}"], sizes[f"D{i}"])
        ):
            return f"of its member {i} ('{member.name}'): {wrong}"
    return _check_fusion(fusion, 1 + len(members))


def _check_pixels(manifest: Manifest, member: Member) -> str | None:
    """Members see one picture: only its scale of grey levels may differ."""
    first, own = manifest.preprocessing, member.preprocessing
    for name in ("resize", "crop", "color_order"):
        if getattr(first, name) != getattr(own, name):
            return f"{name} {getattr(own, name)} is not the first member's {getattr(first, name)}"
    return None


def _check_network(manifest: Manifest, i: int, member: Member) -> str | None:
    if member.backbone.onnx_sha256 != manifest.tensors[member_tensor(i, "network/onnx")].sha256:
        return "its network is not the one that its manifest names"
    if manifest.input is None or manifest.input.tiling is None:
        return None
    return tiling_fault(manifest.input.tiling, member.network.grid)


def _check_fusion(fusion: Fusion, members: int) -> str | None:
    for name in ("median", "mad", "map_median", "map_mad"):
        if (count := len(getattr(fusion, name))) != members:
            return f"its fusion has {count} values of {name} for {members} members"
    return None
