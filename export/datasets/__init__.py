"""Public data sets in the layouts in which their authors hand them out."""

from pyad_edge.export.datasets.category import Category, Picture
from pyad_edge.export.datasets.registry import DATASETS, read_dataset
from pyad_edge.export.datasets.view import write_view

__all__ = ["DATASETS", "Category", "Picture", "read_dataset", "write_view"]
