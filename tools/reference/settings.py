"""The pages of the contract, the collection plan and the training settings, from their pydantic models."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from reference.markdown import code, table

CONTRACT = """# Contract

The contract describes one robot. Recorder, simulator, trainer and policy load it through one class, and every episode
and checkpoint carries a copy. `config/robot.yaml` is an example with a comment per field; pass your own file as
`contract:=FILE`. Units are SI. An unknown or missing field is an error that names the field.

A policy refuses a robot whose contract gives numbers another meaning than in training: base, rate, image sizes,
frames, columns, gripper thresholds, and the order of the cameras. `limits`, `max_age_s`, `required`, `keep_in` and
`obstacles` may differ: stricter values are logged, looser ones are a warning. Names and topics may differ freely.
"""
PLAN = """# Collection plan

The plan lists the tasks to record, how many episodes each needs, and the wordings of the instructions. The recorder
copies `config/collection_plan.yaml` (12 tasks, 1,000 episodes) into a new dataset as `plan.yaml`; edit that copy to
change one dataset.

The recorder proposes the task with the fewest episodes, in the wording and environment in which it was recorded least.
Wordings and environments are balanced each by itself, then in pairs, then in full combinations, so no wording is tied
to one lighting. Done episodes are counted from the files alone, and failures do not count, so a collection continues
after any restart. From Python: `mobile_vla_data.dataset.progress.propose(dataset)`.
"""
TRAINING = """# Training settings

`mobile-vla-policy train --config FILE` reads these fields from YAML; unset fields take the default. Override one on the
command line by its path: `policy.lora.rank=16`. Examples: `config/train.yaml` (Kosmos-2 with LoRA),
`config/train_small.yaml` (a small policy that learns places on a CPU) and `config/train_tiny.yaml` (a tiny Kosmos-2).
"""


def contract_page(root: Path) -> str:
    """Return the page of the contract."""
    from mobile_vla_data.contract import Contract

    return CONTRACT + _models(Contract)


def plan_page(root: Path) -> str:
    """Return the page of the collection plan."""
    from mobile_vla_data.dataset.plan import CollectionPlan

    return PLAN + _models(CollectionPlan)


def training_page(root: Path) -> str:
    """Return the page of the training settings."""
    from mobile_vla_policy.training.settings import TrainSettings

    return TRAINING + _models(TrainSettings)


def _models(top: type[BaseModel]) -> str:
    """Return one section for ``top`` and each model below it, in the order in which fields mention them."""
    schema = top.model_json_schema()
    sections = [(top.__name__, "Top level", schema)]
    seen = {top.__name__}
    for title, place, model in sections:  # grows while it is read
        for name, field in model.get("properties", {}).items():
            for inner in _references(field):
                if inner not in seen:
                    seen.add(inner)
                    below = name if title == top.__name__ else f"{place}.{name}"
                    below += ".NAME" if "additionalProperties" in field else ""
                    kind = schema["$defs"][inner]["properties"].get("kind", {}).get("const")
                    below += f" with kind: {kind}" if kind else ""
                    sections.append((inner, below, schema["$defs"][inner]))
    return "".join(_section(top, *section) for section in sections)


def _section(top: type[BaseModel], name: str, place: str, model: dict[str, Any]) -> str:
    heading = place if place == "Top level" else f"`{place}`"
    cls = _class(top, name)
    docs = {name: text for base in reversed(_models_of(cls)) for name, text in _field_docs(base).items()}
    rows = []
    for field, schema in model.get("properties", {}).items():
        default = "required" if field in model.get("required", ()) else _default(schema)
        rows.append([code(field), _type(schema), default, docs.get(field, "")])
    intro = "" if cls is top else inspect.cleandoc(cls.__doc__ or "").replace("``", "`") + "\n\n"
    return f"\n## {heading}\n\n{intro}{table(['field', 'type', 'default', 'meaning'], rows)}"


def _class(top: type[BaseModel], name: str) -> type[BaseModel]:
    """Return the model called ``name`` among those that ``top`` mentions, wherever it is defined."""
    if top.__name__ == name:
        return top
    below = (_class(inner, name) for field in top.model_fields.values() for inner in _mentioned(field.annotation))
    return next((found for found in below if found.__name__ == name), top)


def _mentioned(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _mentioned(part)]


def _models_of(cls: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and the models that it inherits fields from."""
    return [base for base in cls.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]


def _field_docs(cls: type[BaseModel]) -> dict[str, str]:
    """Docstrings that follow the fields of a class."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = text.replace("``", "`")
    return docs


def _references(schema: Any) -> list[str]:
    """Names of the models that a field's schema mentions."""
    if isinstance(schema, dict):
        found = [schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else []
        return found + [name for key, value in schema.items() if key != "discriminator" for name in _references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in _references(value)]
    return []


def _default(schema: dict[str, Any]) -> str:
    if _references(schema):
        return ""  # the group's own table has them
    if "default" not in schema:
        return "empty"
    return code(_value(schema["default"]))


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "group"
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(_type(choice) for choice in schema.get("anyOf", schema.get("oneOf"))))
    if "enum" in schema:
        return ", ".join(code(_value(value)) for value in schema["enum"])
    if "const" in schema:
        return code(_value(schema["const"]))
    if schema.get("type") == "array":
        items = schema.get("items") or {"anyOf": schema.get("prefixItems", [])}
        return f"list of {_type(items)}" if items else "list"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"map of names to {_type(values)}" if isinstance(values, dict) else "map"
    names = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "`true`, `false`",
        "null": "`null`",
    }
    words = {
        "exclusiveMinimum": ">",
        "minimum": "≥",
        "exclusiveMaximum": "<",
        "maximum": "≤",
        "multipleOf": "multiple of",
    }
    limits = ", ".join(f"{words[key]} {schema[key]:g}" for key in words if key in schema)
    return " ".join([names[schema.get("type", "null")], limits]).strip()


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
