"""`python -m local.build.schemas`: the models of our documents -> docs/schemas, for editors that
complete what a user types.
"""

import json
from pathlib import Path
from typing import Any

from shared.models.base import Value
from shared.models.documents import BackupTarget, ClusterDocument
from shared.models.recovery_plans import RecoveryPlan

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
DOCUMENTS: dict[str, type[Value]] = {
    "cluster": ClusterDocument,
    "target": BackupTarget,
    "plan": RecoveryPlan,
}


def schema(name: str) -> dict[str, Any]:
    """As JSON Schema has it, of one document."""
    found = DOCUMENTS[name].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def text(name: str) -> str:
    return json.dumps(schema(name), indent=2) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in DOCUMENTS:
        (FOLDER / f"{name}.json").write_text(text(name))


if __name__ == "__main__":
    main()
