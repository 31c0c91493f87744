"""Digests of JSON documents, which protect what they hold against accidents."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def with_digest(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with their digest."""
    return {**fields, "digest": _digest(fields)}


def check_digest(values: Mapping[str, Any]) -> None:
    """Raise ValueError unless `values` are those of `with_digest`."""
    digest = _digest({k: values[k] for k in values if k != "digest"})
    if digest != values.get("digest"):
        raise ValueError(f"its digest is {digest}, it says {values.get('digest')}")


def _digest(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of some fields."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
