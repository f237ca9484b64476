"""Programs that were built in, the definitions of all kinds that they work with out.

They come from the very modules that the programs are built of, so that neither is ahead of the
other. Of Rancher and Cluster API, which are not built, Harvester only looks whether there is
anything: those kinds hold whatever they are given.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from local import binaries
from local.api import Object
from local.crds import LOADER

# Longhorn's file is a Helm template, whose only expressions are these labels.
_EXPRESSION = re.compile(r"^.*\{\{.*\}\}.*\n", re.MULTILINE)

STUBS = (
    ("cluster.x-k8s.io", "v1beta1", "Cluster", "clusters", "Namespaced"),
    ("cluster.x-k8s.io", "v1beta1", "Machine", "machines", "Namespaced"),
    ("fleet.cattle.io", "v1alpha1", "Cluster", "clusters", "Namespaced"),
    ("logging.banzaicloud.io", "v1beta1", "ClusterFlow", "clusterflows", "Namespaced"),
    ("logging.banzaicloud.io", "v1beta1", "ClusterOutput", "clusteroutputs", "Namespaced"),
    ("logging.banzaicloud.io", "v1beta1", "Flow", "flows", "Namespaced"),
    ("logging.banzaicloud.io", "v1beta1", "Output", "outputs", "Namespaced"),
    ("management.cattle.io", "v3", "Feature", "features", "Cluster"),
    ("management.cattle.io", "v3", "ManagedChart", "managedcharts", "Namespaced"),
)


def definitions() -> list[Object]:
    """By name, each once: KubeVirt's as its operator makes them win over a copy of Harvester's.

    Raises BuildError.
    """
    folder = binaries.built(binaries.HARVESTER)
    everything = [*_of_files(folder / "kinds"), *_printed(folder / "harvester"), *_stubs()]
    found = {
        each["metadata"]["name"]: each
        for each in everything
        if each.get("kind") == "CustomResourceDefinition"
    }
    _let_engine_be_empty(found["backingimages.longhorn.io"])
    return [_without_status(each) for each in found.values()]


def _let_engine_be_empty(definition: Object) -> None:
    """As Harvester creates images: Longhorn's webhook, which does not run here, fills it in ahead
    of the check (longhorn-manager webhook/resources/backingimage/mutator.go).
    """
    for version in definition["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        if engine := spec.get("dataEngine"):
            engine["enum"] = [*engine["enum"], ""]


def priority_classes() -> list[Object]:
    """What the pods of machines ask for."""
    printed = _printed(binaries.built(binaries.HARVESTER) / "harvester")
    return [each for each in printed if each["kind"] == "PriorityClass"]


def _of_files(folder: Path) -> Iterator[Object]:
    for file in sorted(folder.rglob("*.yaml")):
        text = _EXPRESSION.sub("", file.read_text())
        yield from filter(None, yaml.load_all(text, LOADER))


def _printed(program: Path) -> list[Object]:
    answer = subprocess.run([program, "kinds"], capture_output=True, text=True, check=True)
    items: list[Object] = json.loads(answer.stdout)["items"]
    return items


def _stubs() -> Iterator[Object]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for group, version, kind, plural, scope in STUBS:
        served = {
            "name": version,
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        }
        names = {
            "kind": kind,
            "listKind": f"{kind}List",
            "plural": plural,
            "singular": kind.lower(),
        }
        yield {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "names": names, "scope": scope, "versions": [served]},
        }


def _without_status(definition: Object) -> Object:
    return {name: part for name, part in definition.items() if name != "status"}
