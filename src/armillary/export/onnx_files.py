"""ONNX files: a network of plain tensors as the bytes of an ONNX model, in one piece.

The first axis of every input and output is the batch, of any size. Names of source files and lines,
which torch writes beside every operator, are left out.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from torch import nn

from armillary.core.errors import ConfigError
from armillary.export.graphs import inverse_3x3
from armillary.export.ports import Port, random_values

OPSET = 18
_BATCH, _EXAMPLES = "batch", 3  # of one example torch would take the batch axis for fixed
_MOST_WEIGHTS = 500_000_000  # protobuf ends at 2 GiB


def onnx_bytes(network: nn.Module, given: Sequence[Port], later: Sequence[Port]) -> bytes:
    """Return a network as an ONNX model.

    Args:
        network: takes and returns plain tensors, a tuple of them.
        given: its inputs, in order.
        later: its outputs, in order.

    Raises:
        ConfigError: it has more weights than one file holds.
    """
    count = sum(weights.numel() for weights in network.parameters())
    if count > _MOST_WEIGHTS:
        raise ConfigError(
            f"The model has {count:,} weights, and an ONNX file holds {_MOST_WEIGHTS:,}. Export a "
            "smaller one."
        )
    rng = np.random.default_rng(0)
    values = tuple(torch.from_numpy(one) for one in random_values(given, _EXAMPLES, rng))
    any_size = tuple({0: torch.export.Dim.DYNAMIC} for _ in values)
    with torch.no_grad(), _quiet():
        # strict: it is the mode in which len() of a tensor keeps the batch axis free
        program = torch.export.export(
            network, values, dynamic_shapes={"values": any_size}, strict=True
        )
        program = program.run_decompositions({torch.ops.aten.linalg_inv.default: inverse_3x3})
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[port.name for port in given],
            output_names=[port.name for port in later],
            verbose=False,
        )
    assert made is not None
    return _cleaned(made.model_proto).SerializeToString(deterministic=True)


def _cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name the batch axis, and remove what describes the source code."""
    graph = model.graph
    del graph.value_info[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, model):
        del part.metadata_props[:]
        part.doc_string = ""
    for port in (*graph.input, *graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = _BATCH
    onnx.checker.check_model(model)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch says about its own modules."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        log.setLevel(before)
