"""The tables of the five papers beside what their methods give here: ``pyad-edge bench papers``."""
