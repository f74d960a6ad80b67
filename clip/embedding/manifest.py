"""OUT/manifest.json: what a complete output holds. It is the same however often the job was killed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...whole import clear_leftovers, sync_path, write_whole
from .plan import Plan, locked
from .shards import Shard

MANIFEST = "manifest.json"
FORMAT = 1


def manifest_of(plan: Plan) -> dict[str, Any] | None:
    """What the records of all units add up to; None if units are missing."""
    shards = []
    for record in records(plan):
        if record is None:
            return None
        counts = {"unit": record["unit"], "rows": record["sample_count"], "rejected": record["rejected"]}
        shards.append(counts | {"files": record["files"]})
    settings = plan.settings
    return {
        "format": FORMAT,
        "made_by": "polylens embed",
        "fingerprint": plan.about["model"]["fingerprint"],
        "model": plan.about["model"]["name"],
        "precision": plan.about["model"]["precision"],
        "dim": plan.about["model"]["dim"],
        "dtype": settings.dtype,
        "vectors": ["img_emb"] * settings.images + ["text_emb"] * settings.texts,
        "rows": sum(shard["rows"] for shard in shards),
        "rejected": sum(shard["rejected"] for shard in shards),
        "sources": plan.about["sources"],
        "settings": settings.as_dict(),
        "shards": shards,
    }


def finish(plan: Plan) -> dict[str, Any] | None:
    """The manifest, which is written now; None if units are missing."""
    manifest = manifest_of(plan)
    if manifest is None:
        return None
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    with locked(plan.out):
        clear_leftovers(plan.out / MANIFEST)
        write_whole(plan.out / MANIFEST, lambda path: path.write_text(text + "\n", "utf-8"), sync=True)
        sync_path(plan.out)
    return manifest


def records(plan: Plan) -> Iterator[dict[str, Any] | None]:
    """The record of each unit, None of one that is not done."""
    for number in range(len(plan)):
        yield Shard(plan.out, number, len(plan)).done()


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of an output, if it is complete."""
    try:
        manifest: dict[str, Any] = json.loads((out / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return manifest
