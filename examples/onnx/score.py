"""Score pictures with an exported engine, without pyad_edge: score.py part.onnx picture.png ..."""

import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
for path in sys.argv[2:]:
    frame = np.asarray(Image.open(path).convert("RGB"))  # of the size that the graph was made for
    score, _, verdict, p_value = session.run(None, {"frame": frame[None]})
    print(path, score[0], ("OK", "NG", "FAULT")[verdict[0]], p_value[0], sep="\t")
