"""Skeletons of input and output, from the service's model."""

from __future__ import annotations

import json
import re
from typing import IO, Any, Final

import botocore.session
from botocore import xform_name
from botocore.stub import Stubber
from botocore.utils import ArgumentGenerator

from worker.cli.resolve_customer.models import ModelLoader

_OPERATION: Final = "ResolveCustomer"
_TAG: Final = re.compile("<[^>]*>")
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


def _model() -> Any:
    session = botocore.session.Session()
    loader = ModelLoader.on(session.get_config_variable("data_path"))
    session.register_component("data_loader", loader)
    return session.get_service_model("meteringmarketplace").operation_model(_OPERATION)


def print_input(stream: IO[str]) -> None:
    """Print an empty input document in JSON."""
    document = ArgumentGenerator().generate_skeleton(_model().input_shape)
    json.dump(document, stream, indent=4)
    stream.write("\n")


def print_yaml_input(stream: IO[str]) -> None:
    """Print an empty input document in YAML, with a comment on each member's meaning."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - start-up

    yaml = YAML()
    shape = _model().input_shape
    document = yaml.map()
    for name, value in ArgumentGenerator().generate_skeleton(shape).items():
        document[name] = value
        required = "[REQUIRED] " if name in shape.required_members else ""
        comment = f"# {required}{_first_sentence(shape.members[name].documentation)}"
        document.yaml_add_eol_comment(comment, name)
    yaml.dump(document, stream)


def _first_sentence(documentation: str) -> str:
    text = _TAG.sub("", documentation)
    for entity, meant in _ENTITIES.items():
        text = text.replace(entity, meant)
    sentence = re.match(r".*?\.(?=\s|$)", " ".join(text.split()))
    return sentence[0] if sentence else text


def output(client: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """A sample answer from the model; the parameters are validated, and no call is made."""
    shape = client.meta.service_model.operation_model(_OPERATION).output_shape
    answer = ArgumentGenerator(use_member_names=True).generate_skeleton(shape)
    method = xform_name(_OPERATION)
    with Stubber(client) as stubber:
        stubber.add_response(method, answer)
        reply: dict[str, Any] = getattr(client, method)(**parameters)
    reply.pop("ResponseMetadata", None)
    # YAML would mark botocore's ordered dictionaries as such, at every depth.
    plain: dict[str, Any] = json.loads(json.dumps(reply))
    return plain
