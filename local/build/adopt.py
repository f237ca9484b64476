"""The buckets and the table that a deleted stack left behind -> what CloudFormation imports into a
new one: `python -m local.build.adopt FOLDER StateBucket=NAME CatalogueTable=NAME ...`
(docs/deploy.md).
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.build.template import load

_TEMPLATE = Path(__file__).parents[2] / "template.yaml"
_IDENTIFIERS = {"AWS::S3::Bucket": "BucketName", "AWS::DynamoDB::Table": "TableName"}


def adoption(
    template: dict[str, Any], names: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The template of an import, and what to import: NAMES maps logical to real names. Raises
    ValueError for what cannot be adopted.

    An import makes nothing else, so whatever refers to another resource is left to the update that
    follows.
    """
    kept = {
        name: each for name, each in template["Resources"].items() if each["Type"] in _IDENTIFIERS
    }
    if unknown := sorted(names.keys() - kept):
        raise ValueError(f"{', '.join(unknown)}: not to be adopted; {', '.join(sorted(kept))} are")
    resources = {name: _alone(kept[name]) for name in names}
    identities = [
        {
            "ResourceType": kept[name]["Type"],
            "LogicalResourceId": name,
            "ResourceIdentifier": {_IDENTIFIERS[kept[name]["Type"]]: real},
        }
        for name, real in names.items()
    ]
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}, identities


def _alone(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource without what refers to another one, or to a parameter."""
    properties = {
        name: value for name, value in resource["Properties"].items() if not _refers(value)
    }
    left_out = ("Condition", "DependsOn", "Metadata")
    rest = {name: value for name, value in resource.items() if name not in left_out}
    return {**rest, "Properties": properties}


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(
            name == "Ref" or name.startswith("Fn::") or _refers(each)
            for name, each in value.items()
        )
    return isinstance(value, list) and any(map(_refers, value))


def _main(folder: Path, names: Mapping[str, str]) -> None:
    template, identities = adoption(load(_TEMPLATE), names)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("template.json", template), ("resources.json", identities)):
        (folder / name).write_text(json.dumps(content, indent=2))
        print(folder / name)


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), dict(each.split("=", 1) for each in sys.argv[2:]))
    except (IndexError, ValueError) as error:
        sys.exit(f"usage: adopt FOLDER StateBucket=NAME CatalogueTable=NAME ...: {error}")
