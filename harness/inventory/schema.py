"""boards.yaml as JSON Schema, for editors.

``python -m harness.inventory.schema > docs/boards.schema.json`` brings the published file up to date.
"""

from __future__ import annotations

import json
from typing import Any

from harness.inventory.model import Bench


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a whole boards.yaml."""
    schema = Bench.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "boards.yaml of vm-harness"
    return schema


def schema_text() -> str:
    """The schema as the file in ``docs`` holds it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
