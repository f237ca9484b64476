"""Longhorn's faked parts beside one cluster, until a signal ends them."""

import argparse
import asyncio
from pathlib import Path

from local.api import Api
from local.longhorn.sync import Sync
from local.longhorn.volumes import ENGINES, SNAPSHOTS, VOLUMES, snapshot_steps, volume_steps
from local.watch import loop

WATCHED = (
    ("", "v1", "configmaps"),
    ("longhorn.io", "v1beta2", VOLUMES),
    ("longhorn.io", "v1beta2", ENGINES),
    ("longhorn.io", "v1beta2", SNAPSHOTS),
)
DECISIONS = {VOLUMES: volume_steps, SNAPSHOTS: snapshot_steps}


def main() -> None:
    parser = argparse.ArgumentParser(description="Longhorn without data, beside one cluster")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    kubeconfig = parser.parse_args().kubeconfig
    Sync(Api(kubeconfig)).start()
    asyncio.run(loop.simulate(kubeconfig, WATCHED, DECISIONS))


if __name__ == "__main__":
    main()
