"""``python -m pyad_edge``: the commands that need nothing but the runtime."""

from pyad_edge.cli import main

main()
