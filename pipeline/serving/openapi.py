"""The API described, for the model that is served: what each request may hold and what comes back."""

import html
import json
from typing import Any
from urllib.parse import quote

from pipeline.bundle import Column, Schema
from pipeline.config import Serve

OBJECT: dict[str, Any] = {"type": "object"}
TEXT: dict[str, Any] = {"type": "string"}
LABELS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def describe_api(schema: Schema, asked: Serve, *, with_token: bool) -> dict[str, Any]:
    """OpenAPI 3.1 of a server for this model."""
    paths = {
        "/invocations": {"post": _invocations(schema, asked)},
        "/explain": {"post": _explain(schema, asked)},
        "/reload": {
            "post": _operation("Serve what is the champion now", OBJECT, {"409": "No other model can be served"})
        },
        "/schema": {"get": _operation("What the model takes and gives", OBJECT)},
        "/metrics": {"get": _operation("Counters for Prometheus", TEXT, media="text/plain")},
        "/version": {"get": _operation("Which model answers", OBJECT)},
        "/ping": {"get": _operation("Whether it is up", TEXT, media="text/plain")},
        "/health": {"get": _operation("Whether it is up", TEXT, media="text/plain")},
    }
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"{schema.name}: {schema.task}", "version": schema.run_id or "0"},
        "paths": paths,
        "components": {"schemas": {"Row": _row(schema, asked), "Error": _error()}},
    }
    if with_token:
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path in ("/invocations", "/explain", "/reload", "/schema", "/metrics", "/version"):
            for operation in paths[path].values():
                operation["security"] = [{"token": []}]
                operation["responses"]["401"] = _refusal("No token, or a wrong one")
    return described


def _operation(
    summary: str, answer: dict[str, Any], errors: dict[str, str] | None = None, media: str = "application/json"
) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": {media: {"schema": answer}}}}
    errors = {**(errors or {}), "504": "It took too long"}
    return {"summary": summary, "responses": responses | {code: _refusal(why) for code, why in errors.items()}}


def _refusal(why: str) -> dict[str, Any]:
    return {"description": why, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


ERRORS = {
    "400": "Not a table",
    "408": "Its body took too long",
    "413": "Too large",
    "415": "Another content type",
    "422": "Values that do not fit",
}


def _invocations(schema: Schema, asked: Serve) -> dict[str, Any]:
    answer = {"type": "object", "required": ["predictions"], "properties": {"predictions": _answers(schema)}}
    operation = _operation("Predict rows", answer, ERRORS)
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _table(schema, asked.max_rows)}},
    }
    return operation


def _explain(schema: Schema, asked: Serve) -> dict[str, Any]:
    answer = {"type": "object", "required": ["effects"], "properties": {"effects": {"type": "array", "items": OBJECT}}}
    operation = _operation("Which inputs move the prediction for a row most", answer, ERRORS)
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _table(schema, 1)}}}
    return operation


def _table(schema: Schema, max_rows: int) -> dict[str, Any]:
    """The forms of a table that a schema can hold; what it cannot is described in words."""
    bounds = {"type": "array", "minItems": 1, "maxItems": max_rows}
    rows = bounds | {"items": {"$ref": "#/components/schemas/Row"}}
    names = [column.name for column in schema.columns]
    cells = [{"$ref": f"#/components/schemas/Row/properties/{_pointer(name)}"} for name in names]
    row = {"type": "array", "prefixItems": cells, "items": False, "minItems": len(cells), "maxItems": len(cells)}
    split = _object({"columns": {"const": names}, "data": bounds | {"items": row}})
    return {
        "description": "Columns come in any order; inputs may be columns, {name: [value]}; text/csv works, too.",
        "oneOf": [
            *(_object({form: rows}) for form in ("dataframe_records", "instances", "inputs")),
            _object({"dataframe_split": split}),
        ],
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*properties], "properties": properties, "additionalProperties": False}


def _pointer(name: str) -> str:
    """A name in a reference: RFC 6901 in a URI fragment."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="")


def _row(schema: Schema, asked: Serve) -> dict[str, Any]:
    open_to_more = asked.unknown == "impute"
    return {
        "type": "object",
        "required": [column.name for column in schema.columns],
        "properties": {column.name: _value(column, asked) for column in schema.columns},
        "additionalProperties": open_to_more,
    }


def _value(column: Column, asked: Serve) -> dict[str, Any]:
    nullable = column.missing or asked.unknown == "impute"
    if column.kind == "number":
        return {"type": ["number", "null"] if nullable else "number"}
    if column.kind == "datetime":
        return {"type": ["string", "null"] if nullable else "string", "format": "date-time"}
    if asked.unknown == "impute" or column.rare:
        return {"type": ["string", "number", "boolean", *(["null"] if nullable else [])]}
    natural = [value for level in column.levels for value in _read_as(level)]
    return {"enum": [*column.levels, *natural, *([None] if nullable else [])]}


def _read_as(level: str) -> list[bool | float]:
    """The truth or the number that is written like a category."""
    if level in ("True", "False"):
        return [level == "True"]
    try:
        number = float(level)
    except ValueError:
        return []
    text = str(int(number)) if number.is_integer() else str(number)
    return [number] if text == level else []


def _answers(schema: Schema) -> dict[str, Any]:
    if not schema.classes:
        return {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "number"}}}
    label = {"type": LABELS[type(schema.classes[0])]}
    chances = {f"probability of {name}": {"type": "number"} for name in schema.labels}
    properties = {"predicted": label, **chances, "set": {"type": "array", "items": label}}
    return {"type": "array", "items": {"type": "object", "required": [*properties], "properties": properties}}


def _error() -> dict[str, Any]:
    fault = {
        "type": "object",
        "required": ["row", "field", "value", "expected"],
        "properties": {"row": {"type": ["integer", "null"]}, "field": TEXT, "value": {}, "expected": TEXT},
    }
    properties = {"error_code": TEXT, "message": TEXT, "faults": {"type": "array", "items": fault}}
    return {"type": "object", "required": [*properties], "properties": properties}


def page_of_docs(described: dict[str, Any]) -> bytes:
    """The API as a page that needs no other host."""
    parts = []
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            codes = ", ".join(f"{code} {told['description']}" for code, told in operation["responses"].items())
            body = operation.get("requestBody")
            shown = f"<details><summary>body</summary><pre>{_pretty(body)}</pre></details>" if body else ""
            parts.append(
                f"<h2><code>{method.upper()} {path}</code></h2><p>{operation['summary']}.</p><p>{codes}</p>{shown}"
            )
    row = _pretty(described["components"]["schemas"]["Row"])
    title = html.escape(described["info"]["title"])
    style = "<style>body{font-family:sans-serif;margin:2em auto;max-width:60em;padding:0 1em}</style>"
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>{style}<h1>{title}</h1>"
        f"<p>The same as <a href=openapi.json>OpenAPI</a>.</p>{''.join(parts)}<h2>A row</h2><pre>{row}</pre></html>"
    )
    return text.encode()


def _pretty(value: Any) -> str:
    return html.escape(json.dumps(value, indent=1, ensure_ascii=False))
