"""Built artifacts: how large each function becomes."""

import sys
from pathlib import Path
from typing import Any

from local.build.template import load

LIMIT_MB = 240  # AWS refuses 250 MB unzipped, a function with all its layers


def sizes(build: Path) -> dict[str, float]:
    """Each function's size with its layers, in MB, after printing every part's size."""
    template = load(build / "template.yaml")
    for each in sorted(path for path in build.iterdir() if path.is_dir()):
        print(f"{each.name:24}{_megabytes(each):8.1f} MB unzipped")
    shared = template.get("Globals", {}).get("Function", {}).get("Layers", [])
    return {
        name: sum(_megabytes(build / part) for part in [name, *_layers(shared, resource)])
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def _layers(shared: list[dict[str, Any]], resource: dict[str, Any]) -> list[str]:
    """The layers that are built here; one by condition is AWS' own."""
    layers = [*shared, *resource["Properties"].get("Layers", [])]
    return [layer["Ref"] for layer in layers if "Ref" in layer]


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _report(build: Path) -> None:
    totals = sizes(build)
    biggest = max(totals, key=lambda name: totals[name])
    print(f"largest with its layers: {biggest}, {totals[biggest]:.1f} of {LIMIT_MB} MB")
    if totals[biggest] > LIMIT_MB:
        sys.exit(f"{biggest} with its layers is larger than {LIMIT_MB} MB")


if __name__ == "__main__":
    _report(Path(sys.argv[1]))
