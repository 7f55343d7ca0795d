"""Export a network to ONNX: float32 arithmetic on weights that are stored as float16 where that is exact.

`torch.onnx.export` writes the graph. Then each batch norm behind a convolution or a linear layer becomes a factor of
its weights. The factor and the float16 weights stay apart in the file, which is half as large for it, and exact: a
runtime multiplies them once, when it loads the file.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from visim_models.errors import ConfigurationError, MissingExtraError
from visim_models.models.autoencoder import ConvolutionalAutoencoder
from visim_models.models.base import Classifier, PretrainedModel
from visim_models.repo_folder.manifest import ONNX_CLASSIFIER, ONNX_DECODER, ONNX_MODEL, ONNX_WEIGHTS_KEY

__all__ = ["export_onnx"]

_OPSET: Final = 18
_IR_VERSION: Final = 10
"""Both are of 2024: ONNX Runtime reads them since 1.18, and so does onnxruntime-web."""
_LARGEST_FOLDED: Final = 2**13
"""Constants up to this many values are computed in the file. A larger one stays as float16 weights and their factor."""
_LEAST_HALVED: Final = 2**9
"""A shorter tensor stays float32: half of it saves less than the cast takes."""


def export_onnx(model: PretrainedModel, *, weights_sha256: str) -> dict[str, bytes]:
    """Export a network; the same weights give the same bytes.

    Args:
        model: the network, on the CPU.
        weights_sha256: of its model.safetensors. The files name it, so that no other weights are taken for these.

    Returns:
        Path in a repo folder -> content. onnx/model.onnx: pixels (N, 3, S, S) -> embedding (N, D), and
        log_probabilities (N, C) of a classifier. A classifier has onnx/classifier.onnx, too: embedding ->
        log_probabilities; an autoencoder onnx/decoder.onnx: embedding -> pixels.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        ConfigurationError: the network has an operation that ONNX has not.
    """
    model = model.eval()
    pixels = torch.zeros(2, 3, model.image_size, model.image_size)  # (2, 3, S, S)
    embedding = torch.zeros(2, model.embedding_dim)  # (2, D)
    outputs = ["embedding"]
    graphs: dict[str, tuple[nn.Module, Tensor, str, list[str]]] = {}
    if isinstance(model, Classifier):
        outputs.append("log_probabilities")
        graphs[ONNX_CLASSIFIER] = (_Call(model, "classify"), embedding, "embedding", ["log_probabilities"])
    if isinstance(model, ConvolutionalAutoencoder):
        graphs[ONNX_DECODER] = (_Call(model, "decode"), embedding, "embedding", ["pixels"])
    graphs[ONNX_MODEL] = (_Embed(model), pixels, "pixels", outputs)
    return {name: _file(*graph, weights_sha256=weights_sha256) for name, graph in graphs.items()}


class _Call(nn.Module):
    """One method of a network, as `torch.onnx.export` takes it."""

    def __init__(self, model: PretrainedModel, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, values: Tensor) -> Tensor:
        """Return what the method returns."""
        found: Tensor = getattr(self.model, self.method)(values)
        return found


class _Embed(nn.Module):
    """The embedding, and of a classifier the log-probabilities, too."""

    def __init__(self, model: PretrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (N, D), and (N, C)."""
        embedding = self.model.embed(values)  # (N, D)
        return (embedding, self.model.classify(embedding)) if isinstance(self.model, Classifier) else (embedding,)


def _file(module: nn.Module, example: Tensor, given: str, outputs: list[str], *, weights_sha256: str) -> bytes:
    """Export one graph, with a free number of rows."""
    try:
        import onnx
        from onnxscript import optimizer
    except ImportError as error:
        raise MissingExtraError(
            error.name or "onnx", extra="onnx-export", purpose="Writing a network as ONNX"
        ) from error
    try:
        with _silent():
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=_OPSET,
                input_names=[given],
                output_names=outputs,
                dynamic_shapes={"values": {0: torch.export.Dim("batch")}},
            )
            assert program is not None
            optimizer.fold_constants(program.model, input_size_limit=_LARGEST_FOLDED, output_size_limit=_LARGEST_FOLDED)
            optimizer.remove_unused_nodes(program.model)
            proto = program.model_proto
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f'This network cannot be written as ONNX ({reason}): use it with backend="torch".'
        ) from error
    graph = onnx.helper.make_graph(
        [_bare(node) for node in proto.graph.node],
        "visim",
        [onnx.helper.make_value_info(value.name, value.type) for value in proto.graph.input],
        [onnx.helper.make_value_info(value.name, value.type) for value in proto.graph.output],
        initializer=proto.graph.initializer,
    )
    _fold_batch_norms(graph)
    _halve_weights(graph)
    file = onnx.helper.make_model(
        graph, producer_name="visim", ir_version=_IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", _OPSET)]
    )
    onnx.helper.set_model_props(file, {ONNX_WEIGHTS_KEY: weights_sha256})
    onnx.checker.check_model(file)
    content: bytes = file.SerializeToString(deterministic=True)
    return content


def _bare(node: Any) -> Any:
    """Copy a node without what the exporter notes, such as stack traces with paths of this machine."""
    import onnx

    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    del bare.metadata_props[:]
    bare.ClearField("doc_string")
    return bare


def _fold_batch_norms(graph: Any) -> None:
    """Make each batch norm behind a convolution or a linear layer a factor of its weights and a bias."""
    import onnx

    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    uses = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    nodes = []
    for node in graph.node:
        maker = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if maker is None or maker.op_type not in ("Conv", "Gemm") or uses.count(node.input[0]) > 1:
            nodes.append(node)
            continue
        gamma, beta, mean, variance = (onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:5])
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + np.float32(epsilon))  # (C,)
        old = onnx.numpy_helper.to_array(weights[maker.input[2]]) if len(maker.input) > 2 else np.float32(0)
        dims = len(weights[maker.input[1]].dims)
        weight, bias = f"{maker.input[1]}.folded", f"{maker.input[1]}.bias"
        _add(graph, f"{maker.input[1]}.factor", factor.reshape(-1, *[1] * (dims - 1)))
        _add(graph, bias, beta + (old - mean) * factor)
        nodes.remove(maker)
        nodes.append(onnx.helper.make_node("Mul", [maker.input[1], f"{maker.input[1]}.factor"], [weight]))
        folded = onnx.helper.make_node(maker.op_type, [maker.input[0], weight, bias], [node.output[0]])
        folded.attribute.extend(maker.attribute)
        nodes.append(folded)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _halve_weights(graph: Any) -> None:
    """Store as float16 each tensor whose values all are, to be cast to float32 when the file is loaded."""
    import onnx

    casts = []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LEAST_HALVED:
            continue
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _add(graph: Any, name: str, values: npt.NDArray[np.floating[Any]]) -> None:
    import onnx

    graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter from printing, warning and logging what its caller can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
