"""Who made an engine file, and that no older one takes its place: signatures, pinned keys."""

from pyad_edge.trust.check import SignaturePolicy

__all__ = ["SignaturePolicy"]
