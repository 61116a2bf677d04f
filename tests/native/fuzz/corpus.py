"""The corpus of a fuzz target: one file, an input a line in hexadecimal; libFuzzer wants a folder.

python tests/native/fuzz/corpus.py unpack corpus/decide.hex FOLDER
python tests/native/fuzz/corpus.py pack corpus/decide.hex FOLDER...
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def inputs_of(file: Path) -> list[bytes]:
    """The inputs of a corpus; none where the file is missing."""
    return [bytes.fromhex(line) for line in file.read_text().split()] if file.exists() else []


def unpack(file: Path, folder: Path) -> None:
    """Write a file for each input, named as libFuzzer names them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs_of(file):
        (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def pack(file: Path, *folders: Path) -> None:
    """Add the files of folders to a corpus; short inputs come first, and every one once."""
    found = {path.read_bytes() for folder in folders for path in folder.iterdir()}
    inputs = sorted((found | set(inputs_of(file))) - {b""}, key=lambda data: (len(data), data))
    file.write_text("".join(f"{data.hex()}\n" for data in inputs))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"pack": pack, "unpack": unpack}[command](*map(Path, paths))
