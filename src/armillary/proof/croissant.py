"""Croissant: a data manifest as JSON-LD that dataset search engines and loaders read.

Source: mlcommons.org/croissant/1.0, its dataset-level, FileObject, FileSet and RecordSet
properties; the hashes go into schema.org's ``additionalProperty``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from armillary.data import Dataset, layout

VERSION = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace separator "
    "source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
_TYPES = {"float": "sc:Float", "int": "sc:Integer", "bool": "sc:Boolean"}


def croissant(
    dataset: Dataset, manifest: Mapping[str, Any], files: Mapping[str, str], url: str = ""
) -> dict[str, Any]:
    """Return the Croissant description of a dataset.

    Args:
        dataset: that is described.
        manifest: its data manifest.
        files: sha256 of files that lie beside the description, by name.
        url: of the dataset; empty for its place on this disk.
    """
    about, first = manifest["dataset"], dataset.read_low(0)
    world = str((manifest["generator"] or {}).get("about", {}).get("world", ""))
    made = datetime.fromtimestamp((dataset.path / layout.INFO).stat().st_mtime, UTC)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": dataset.path.resolve().name or "dataset",
        "description": (
            f"{about['episodes']:,} episodes, {about['steps']:,} steps, as a LeRobotDataset v3"
            + (f", recorded in the world {world}." if world else ".")
        ),
        "license": _license(first.license),
        "url": url or dataset.path.resolve().as_uri(),
        "creator": {"@type": "sc:Organization", "name": "armillary" if world else "unknown"},
        "datePublished": made.date().isoformat(),
        "version": "1.0.0",
        "isLiveDataset": False,
        "distribution": [*_objects(files), *_sets(dataset)],
        "recordSet": [_steps(dataset)],
        "additionalProperty": list(_properties(manifest)),
    }


def _license(text: str) -> str:
    """Return an SPDX identifier as its address; a sentence stays what it is."""
    if re.fullmatch(r"[A-Za-z0-9.+-]{2,64}", text):
        return f"https://spdx.org/licenses/{text}"
    return text or "unknown; ask who made the data"


def _objects(files: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    kinds = {".json": "application/json", ".jsonl": "application/jsonlines"}
    for name, sha256 in files.items():
        yield {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "encodingFormat": kinds["." + name.rpartition(".")[2]],
            "sha256": sha256,
        }


def _sets(dataset: Dataset) -> Iterator[dict[str, Any]]:
    yield _set("tables", "Rows of the episodes", "application/x-parquet", "data/*/*.parquet")
    for key, spec in dataset.features.items():
        if spec["dtype"] == "video":
            yield _set(key, f"Pictures of {key}", "video/mp4", f"videos/{key}/*/*.mp4")


def _set(identity: str, description: str, encoding: str, includes: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": identity,
        "name": identity,
        "description": f"{description}.",
        "encodingFormat": encoding,
        "includes": includes,
    }


def _steps(dataset: Dataset) -> dict[str, Any]:
    columns = {key: s for key, s in dataset.features.items() if s["dtype"] != "video"}
    return {
        "@type": "cr:RecordSet",
        "@id": "steps",
        "name": "steps",
        "description": "One record per step of an episode.",
        "key": [{"@id": "steps/episode_index"}, {"@id": "steps/frame_index"}],
        "field": [_field(name, spec) for name, spec in columns.items()],
    }


def _field(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    kind = next((t for word, t in _TYPES.items() if spec["dtype"].startswith(word)), "sc:Text")
    kind = "sc:ImageObject" if spec["dtype"] == "image" else kind
    field = {
        "@type": "cr:Field",
        "@id": f"steps/{name}",
        "name": name,
        "description": f"Column {name}, {spec['dtype']} of shape {list(spec['shape'])}.",
        "dataType": kind,
        "source": {"fileSet": {"@id": "tables"}, "extract": {"column": name}},
    }
    return field if list(spec["shape"]) == [1] else {**field, "repeated": True}


def _properties(manifest: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    named = {f"merkle root of {n}": tree["root"] for n, tree in manifest["roots"].items()}
    if manifest["generator"]:
        named["digest of the generator"] = manifest["generator"]["digest"]
    for name, value in named.items():
        yield {"@type": "sc:PropertyValue", "name": name, "value": value}
