"""The demo: generated pictures of a part, good and defective, and the main job run on them."""

from pyad_edge.export.demo.part import DEFECTS, make_part, write_dataset
from pyad_edge.export.demo.stream import DemoReport, run_demo

__all__ = ["DEFECTS", "DemoReport", "make_part", "run_demo", "write_dataset"]
