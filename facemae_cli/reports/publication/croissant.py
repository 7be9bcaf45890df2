"""A dataset described in ML Commons' Croissant 1.0, with its fields of responsible AI (RAI 1.0)."""

from __future__ import annotations

import json
from typing import Any

from facemae_cli.reports.publication import words
from facemae_cli.reports.publication.facts import Facts

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
CITE_AS = (
    "@article{wang2022facemae, title={FaceMAE: Privacy-Preserving Face Recognition via Masked Autoencoders}, "
    "author={Wang, Kai and others}, journal={arXiv:2205.11090}, year={2022}}"
)
MIME = {".jpg": "image/jpeg", ".png": "image/png"}
FILES = "faces-files"


def croissant(facts: Facts, file: str | None = None) -> str:
    """The text of croissant.json. `file`: the name of the `.rec` that holds all images, where there is one.

    Equal facts give equal text; it names nobody. A `.rec` is described as a file, since Croissant reads no RecordIO.
    """
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": words.title(facts).lower().replace(" ", "-"),
        "description": words.summary(facts),
        "conformsTo": CONFORMS_TO,
        "version": "1.0.0",
        "citeAs": CITE_AS,
        "isLiveDataset": False,
        **_responsible(facts),
        "distribution": [_files(facts, file)],
        **({"recordSet": [_records(facts)]} if facts.format != "rec" else {}),
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _responsible(facts: Facts) -> dict[str, Any]:
    measured = [*map(str, facts.figures.risks), *facts.figures.remarks]
    return {
        "rai:dataCollection": "Aligned photos of faces of real people, gathered by whoever publishes the dataset.",
        "rai:dataCollectionType": ["Others"],
        "rai:dataPreprocessingProtocol": words.processing(facts),
        "rai:personalSensitiveInformation": [words.sensitive(facts), *measured],
        "rai:dataUseCases": ["Training face recognisers.", *(f"Not for {use}." for use in words.NOT_FOR)],
        "rai:dataLimitations": [*words.limits(facts), *map(str, facts.figures.utility)],
        "rai:dataBiases": ["Groups are as frequent as in the source; none were balanced."],
        "rai:dataSocialImpact": "Recognisers can be trained without handing on photos of people.",
        "rai:dataReleaseMaintenancePlan": words.MAINTENANCE,
    }


def _files(facts: Facts, file: str | None) -> dict[str, Any]:
    includes, mime = {
        "rec": (file or "*.rec", "application/octet-stream"),
        "parquet": (file or "*.parquet", "application/x-parquet"),
        "folder": (f"*{facts.suffix}", MIME.get(facts.suffix, "image/jpeg")),
    }[facts.format]
    return {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "description": "All images.",
        "encodingFormat": mime,
        "includes": includes,
    }


def _records(facts: Facts) -> dict[str, Any]:
    if facts.format == "parquet":
        image = _field("image", "sc:ImageObject", {"column": "image"}, [{"jsonPath": "bytes"}])
        person = _field("label", "sc:Integer", {"column": "label"})
    else:
        image = _field("image", "sc:ImageObject", {"fileProperty": "content"})
        person = _field("person", "sc:Text", {"fileProperty": "fullpath"}, [{"regex": "^(?:.*/)?([^/]+)/[^/]+$"}])
    return {
        "@type": "cr:RecordSet",
        "@id": "faces",
        "name": "faces",
        "description": "A face a record.",
        "field": [image, person] if facts.people else [image],
    }


def _field(
    name: str, kind: str, extract: dict[str, str], transform: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": FILES}, "extract": extract}
    if transform:
        source["transform"] = transform
    return {"@type": "cr:Field", "@id": f"faces/{name}", "name": f"faces/{name}", "dataType": kind, "source": source}
