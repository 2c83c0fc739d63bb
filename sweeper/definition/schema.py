"""The JSON schema of the experiment file, for editors; made from the model.

It accepts all that `load` accepts; what a schema cannot say is for `load` to refuse.
"""

from typing import Any

from sweeper.definition.experiment import Experiment

# Where the file was read from is no key of it; the rest has defaults from outside.
NOT_IN_FILE = ("path", "lines")
REQUIRED = ("search_space", "objective")


def schema() -> dict[str, Any]:  # JSON
    """The schema as JSON data."""
    made = Experiment.model_json_schema(mode="validation")
    for key in NOT_IN_FILE:
        made["properties"].pop(key, None)
    made["properties"]["project"] = {"type": "string", "examples": [".."]}
    values = made["properties"]["seeds"]
    del values["default"]  # it is the seed of the config, if there is one
    confirm = made["properties"].pop("confirm")
    both = {"values": {"anyOf": values["anyOf"]}, "confirm": confirm}
    values["anyOf"] = [
        *values["anyOf"],
        {"type": "object", "properties": both, "additionalProperties": False},
    ]
    made["required"] = list(REQUIRED)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "sweeper experiment"
    return made
