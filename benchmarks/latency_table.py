"""Write the tables of docs/latency.md from the results: python benchmarks/latency_table.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "latency.md"
END = "<!-- end -->"
OURS = "pyad_edge"
# What the comparison was made to show: times ours, by bank and precision, of each peer.
AIMS = {
    ("small", "fp32"): {"anomalib, OpenVINO": 1.6, "anomalib, torch": 2.2},
    ("large", "fp32"): {"anomalib, OpenVINO": 2.5, "anomalib, torch": 3.5},
    ("small", "bf16"): {"anomalib, OpenVINO": 1.8},
    ("large", "bf16"): {"anomalib, OpenVINO": 3.0},
}
# Times the network alone, of infer and of decide on good frames; as in benchmarks/latency.py.
NETWORK_AIMS = {
    "resnet18": (1.2, None),
    "resnet18-10": (2.2, 1.3),
    "wide_resnet50_2": (1.1, None),
    "wide_resnet50_2-10": (1.6, 1.15),
}


def results(name: str) -> list[dict[str, Any]]:
    """A benchmark's results, a file per machine, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}.*.json"))]


def machine_line(result: dict[str, Any]) -> str:
    """Processor, threads, versions, command and commit, in one line."""
    machine = result["machine"]
    shown = ("onnxruntime", "openvino", "torch", "anomalib", "faiss-cpu")
    versions = ", ".join(f"{n} {machine['versions'][n]}" for n in shown if n in machine["versions"])
    return (
        f"{machine['processor']}, {machine['threads']} threads, level {machine['level']}; "
        f"{versions}. `{result['command']}`, commit {result['commit']}, load {result['load']}."
    )


def ours_table(result: dict[str, Any]) -> str:
    """The whole of infer and decide beside the network alone."""
    lines = [
        machine_line(result),
        "",
        "| network | bank | network alone, ms | infer, ms | p99 | times the network | aim "
        "| decide, good frames, ms | times the network | aim |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        aims = NETWORK_AIMS.get(row["name"], (None, None))
        infer, decide = row["infer/backbone_a"], row["decide/backbone_a"]
        cells = []
        for found, key, aim in ((infer, "infer_ms", aims[0]), (decide, "decide_ms", aims[1])):
            low, high = found["interval"]
            times = found[key]
            cells += [f"{times['p50']:.2f}", *([f"{times['p99']:.2f}"] if found is infer else [])]
            cells += [f"{found['median']:.3f} [{low:.3f}, {high:.3f}]", f"{aim}" if aim else ""]
        lines.append(
            f"| {row['backbone']} | {row['bank'][0]:,} x {row['bank'][1]:,} "
            f"| {infer['backbone_a_ms']['p50']:.2f} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def peers_table(result: dict[str, Any]) -> str:
    """pyad_edge beside its peers on one machine."""
    lines = [
        machine_line(result),
        "",
        "| bank | precision | pictures at once | contender | its form | ms a picture | p99 "
        "| times ours | aim | largest score difference |",
        "|--:|---|--:|---|---|--:|--:|--:|--:|--:|",
    ]
    for cell in result["cells"]:
        rows = "819" if cell["bank"] == "small" else "8,192"
        group = [rows, cell["precision"], str(cell["together"])]
        aims = AIMS.get((cell["bank"], cell["precision"]), {}) if cell["peer"] == "anomalib" else {}
        for name, found in cell["contenders"].items():
            ratio = ""
            if "times_ours" in found:
                low, high = found["interval"]
                ratio = f"{found['times_ours']:.2f} [{low:.2f}, {high:.2f}]"
            aim = f"{aims[name]:.1f}" if name in aims else ""
            shown = group if name == OURS else [""] * 3
            lines.append(
                f"| {' | '.join(shown)} | {name} | {found['form']} | {found['ms']:.2f} "
                f"| {found['p99']:.2f} | {ratio} | {aim} | {found['score_difference']:.0e} |"
            )
    worst = {
        peer: max(c["patch_distance_difference"] for c in result["cells"] if c["peer"] == peer)
        for peer in dict.fromkeys(cell["peer"] for cell in result["cells"])
    }
    lines += ["", "Patch distances of pyad_edge in float32, largest difference over the largest: "]
    lines[-1] += ", ".join(f"{peer} {value:.0e}" for peer, value in worst.items()) + "."
    if result["image_auroc"]:
        lines += ["", "| image AUROC on MTD | 819 rows | 8,192 rows |", "|---|--:|--:|"]
        by_bank = {entry["bank"]: entry for entry in result["image_auroc"]}
        for name in (name for name in result["image_auroc"][0] if name != "bank"):
            cells = [
                f"{by_bank[bank][name]:.4f}" if bank in by_bank else ""
                for bank in ("small", "large")
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tried_table(result: dict[str, Any]) -> str:
    """Every form that was tried before the comparison, so that anybody can object."""
    lines = ["| cell | contender | form | ms a query | score difference |", "|---|---|---|--:|--:|"]
    for cell in result["cells"]:
        for group, forms in cell["tried"].items():
            for form, found in forms.items():
                ms = f"{found['ms']:.1f}" if "ms" in found else "not timed"
                error = f"{found['error']:.0e}" if "error" in found else "did not run"
                lines.append(f"| {cell['name']} | {group} | {form} | {ms} | {error} |")
    return "\n".join(lines)


def papers_table(result: dict[str, Any]) -> str:
    """The papers' figures, each with its device, beside one machine's."""
    found = result["patchcore"]
    here = found["device"]
    low, high = found["interval"]
    lines = [
        f"Here: {here}; {machine_line(result)} WideResNet-50-2 ({found['weights']} weights), "
        f"{found['size']} px, bank {found['bank'][0]:,} x {found['bank'][1]:,}: public algorithm "
        f"{found['official']['ms']:.1f} ms ({found['official']['form']}), pyad_edge "
        f"{found['ours']['ms']:.1f} ms; {found['times_ours']:.2f} times ours "
        f"[{low:.2f}, {high:.2f}], scores within {found['score_difference']:.0e}.",
        "",
        "| paper | method | printed | on | under | public algorithm, here | pyad_edge, here |",
        "|---|---|--:|---|---|--:|--:|",
    ]
    for claim in result["claims"]:
        measured = claim["method"] == "patchcore"
        public = f"{found['official']['ms']:.1f} ms" if measured else ""
        ours = f"{found['ours']['ms']:.1f} ms" if measured else _elsewhere(claim["method"])
        lines.append(
            f"| {claim['where']} | {claim['method']} | {claim['printed']} | {claim['device']} "
            f"| {claim['conditions']} | {public} | {ours} |"
        )
    return "\n".join(lines)


def _elsewhere(method: str) -> str:
    """A method's own latency benchmark, with its machine; random weights, float32."""
    cells = []
    for result in results(f"{method}_latency"):
        if method == "grad":
            times = {
                f"{row['detectors'].removeprefix('grad ')} {row['infer']['p50_ms']:.1f} ms": None
                for row in result["rows"]
                if (row["backend"], row["precision"]) == ("onnxruntime", "fp32")
            }
            text = ", ".join(times)
        else:
            text = f"{result['median_ms']['end_to_end']:.0f} ms"
        cells.append(
            f"{text} ({result['machine']['processor']}, {result['machine']['threads']} threads)"
        )
    return "; ".join(cells) or "not measured"


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "<!-- table: ours -->": ("latency", ours_table),
    "<!-- table: peers -->": ("peers", peers_table),
    "<!-- table: tried -->": ("peers", tried_table),
    "<!-- table: papers -->": ("papers_latency", papers_table),
    "<!-- table: papers on GPUs -->": ("papers_latency_cuda", papers_table),
}


def with_tables(page: str) -> str:
    """The page with the tables of today's result files; without a file it says so."""
    for begin, (name, table) in TABLES.items():
        before, rest = page.split(begin, 1)
        _, after = rest.split(END, 1)
        text = "\n\n".join(table(result) for result in results(name)) or "Not run yet."
        page = f"{before}{begin}\n{text}\n{END}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
