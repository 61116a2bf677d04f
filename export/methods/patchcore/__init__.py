"""PatchCore (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022)."""

from pyad_edge.export.methods.patchcore.engine import export_engine, golden_frames
from pyad_edge.export.methods.patchcore.fit import PatchCoreModel, calibrate, fit
from pyad_edge.export.methods.patchcore.settings import PatchCoreSettings, make_settings

__all__ = [
    "PatchCoreModel",
    "PatchCoreSettings",
    "calibrate",
    "export_engine",
    "fit",
    "golden_frames",
    "make_settings",
]
