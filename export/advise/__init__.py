"""Which method and settings suit a line: several candidates, judged on good pictures alone."""

from pyad_edge.export.advise.advise import advise
from pyad_edge.export.advise.recommend import Advice
from pyad_edge.export.advise.report import AdviseReport, render
from pyad_edge.export.advise.settings import AdviseSettings, make_settings

__all__ = ["Advice", "AdviseReport", "AdviseSettings", "advise", "make_settings", "render"]
