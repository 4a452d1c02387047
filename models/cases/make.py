"""Writes the small hand-made ONNX files of this folder and their goldens: whole graphs here, single operators in `ops/`.

usage: python models/cases/make.py [--only NAME ...]
"""

import argparse

import numpy as np
import onnx
from onnx import TensorProto, helper

import ops
from build import FLOAT, FOLDER, common, initializer, make_model, seed, tensor_type, write_model, write_op

node = helper.make_node


def three_unsupported():
    """Three operators that nobody supports here, among ones that are; graph inputs and outputs are plain f32."""
    nodes = [
        node("Relu", ["input"], ["relu"], name="/stem/act/Relu"),
        node("FooBar", ["relu"], ["encoded", "words"], name="/encoder/layer.0/foo/FooBar", strength=3),
        node("ImageDecoder", ["encoded"], ["pixels"], name="/preprocess/decode/ImageDecoder", pixel_format="RGB"),
        node("Cast", ["pixels"], ["image"], name="/preprocess/Cast", to=FLOAT),
        node("StringNormalizer", ["words"], ["clean"], name="/tokenizer/normalize/StringNormalizer", case_change_action="LOWER"),
        node("Cast", ["clean"], ["numbers"], name="/tokenizer/Cast", to=FLOAT),
    ]
    outputs = [tensor_type("image", FLOAT, [8, 8, 3]), tensor_type("numbers", FLOAT, [2])]
    graph = helper.make_graph(nodes, "three_unsupported", [tensor_type("input", FLOAT, [1, 8])], outputs)
    onnx.save(make_model(graph, 20), FOLDER / "three_unsupported.onnx")


def bad_rank():
    """Two independent mistakes: a 4-D kernel on a 3-D tensor, and a Gemm whose inner sizes are 8 and 16."""
    rng = seed("bad_rank")
    nodes = [
        node("Conv", ["image", "stem.conv.weight"], ["features"], name="/stem/conv/Conv", kernel_shape=[3, 3]),
        node("Gemm", ["vector", "head.weight", "head.bias"], ["logits"], name="/head/Gemm", transB=1),
    ]
    weights = [
        initializer("stem.conv.weight", rng.standard_normal((4, 3, 3, 3))),
        initializer("head.weight", rng.standard_normal((10, 16))),
        initializer("head.bias", rng.standard_normal(10)),
    ]
    inputs = [tensor_type("image", FLOAT, [3, 8, 8]), tensor_type("vector", FLOAT, [1, 8])]
    outputs = [tensor_type("features", FLOAT, [4, 6, 6]), tensor_type("logits", FLOAT, [1, 10])]
    onnx.save(make_model(helper.make_graph(nodes, "bad_rank", inputs, outputs, weights), 17), FOLDER / "bad_rank.onnx")


def conv_net_weights(rng):
    """Initialisers of the small network that several cases share."""
    return [
        initializer("conv.weight", rng.standard_normal((6, 3, 3, 3)) * 0.3),
        initializer("conv.bias", rng.standard_normal(6)),
        initializer("fc.weight", rng.standard_normal((5, 6))),
        initializer("fc.bias", rng.standard_normal(5)),
    ]


def symbolic_batch():
    """A convolutional network whose batch is the symbol `batch`; the golden has three images."""
    rng = seed("symbolic_batch")
    nodes = [
        node("Conv", ["input", "conv.weight", "conv.bias"], ["conv"], name="/conv/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["relu"], name="/act/Relu"),
        node("GlobalAveragePool", ["relu"], ["pool"], name="/pool/GlobalAveragePool"),
        node("Flatten", ["pool"], ["flat"], name="/Flatten"),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], name="/fc/Gemm", transB=1),
    ]
    inputs, outputs = [tensor_type("input", FLOAT, ["batch", 3, 8, 8])], [tensor_type("logits", FLOAT, ["batch", 5])]
    graph = helper.make_graph(nodes, "symbolic_batch", inputs, outputs, conv_net_weights(rng))
    write_model(FOLDER, "symbolic_batch", make_model(graph, 17), {"input": rng.standard_normal((3, 3, 8, 8), np.float32)})


def symbolic_positions():
    """Embeddings of tokens and of their positions: Shape, Gather, Range of a free length, in steps of 1 and from another start."""
    rng = seed("symbolic_positions")
    nodes = [
        node("Shape", ["tokens"], ["shape"], name="/Shape"),
        node("Gather", ["shape", "one"], ["length"], name="/Gather", axis=0),
        node("Range", ["zero", "length", "one"], ["positions"], name="/Range"),
        node("Gather", ["words", "tokens"], ["word"], name="/words/Gather", axis=0),
        node("Gather", ["places", "positions"], ["place"], name="/places/Gather", axis=0),
        node("Add", ["word", "place"], ["embedded"], name="/Add"),
        node("Add", ["length", "length"], ["double"], name="/double/Add"),
        node("Range", ["length", "double", "one"], ["later"], name="/later/Range"),
    ]
    inputs = [tensor_type("tokens", onnx.TensorProto.INT64, ["batch", "sequence"])]
    outputs = [tensor_type("embedded", FLOAT, ["batch", "sequence", 4]), tensor_type("later", onnx.TensorProto.INT64, ["sequence"])]
    weights = [initializer("words", rng.standard_normal((20, 4))), initializer("places", rng.standard_normal((30, 4)))]
    weights += [initializer("zero", 0, np.int64), initializer("one", 1, np.int64)]
    graph = helper.make_graph(nodes, "symbolic_positions", inputs, outputs, weights)
    write_model(FOLDER, "symbolic_positions", make_model(graph, 17), {"tokens": rng.integers(0, 20, (2, 7))})


def symbolic_pooling():
    """Pooling with sizes rounded up, over free height and width."""
    rng = seed("symbolic_pooling")
    nodes = [
        node("MaxPool", ["input"], ["most"], name="/MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("MaxPool", ["input"], ["halves"], name="/halves/MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ]
    inputs = [tensor_type("input", FLOAT, [1, 2, "height", "width"])]
    outputs = [tensor_type(name, FLOAT, [1, 2, None, None]) for name in ("most", "halves")]
    graph = helper.make_graph(nodes, "symbolic_pooling", inputs, outputs)
    write_model(FOLDER, "symbolic_pooling", make_model(graph, 17), {"input": rng.standard_normal((1, 2, 8, 9), np.float32) - 5})


def local_function():
    """Model-local functions as the dynamo exporter writes them: nested, called twice, one with an attribute."""
    rng = seed("local_function")
    domain = "pkg.torch.layers"
    leaky = node("LeakyRelu", ["x"], ["y"], name="leaky")
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    opset = [helper.make_opsetid("", 18)]
    activate = helper.make_function(domain, "Activate", ["x"], ["y"], [leaky], opset, attributes=["slope"])
    block_nodes = [
        node("MatMul", ["x", "weight"], ["product"], name="product"),
        node("Add", ["product", "bias"], ["sum"], name="sum"),
        node("Activate", ["sum"], ["y"], name="activate", domain=domain, slope=0.25),
    ]
    block = helper.make_function(domain, "Block", ["x", "weight", "bias"], ["y"], block_nodes, opset + [helper.make_opsetid(domain, 1)])
    nodes = [
        node("Block", ["input", "layers.0.weight", "layers.0.bias"], ["hidden"], name="/layers.0", domain=domain),
        node("Block", ["hidden", "layers.1.weight", "layers.1.bias"], ["product"], name="/layers.1", domain=domain),
        node("Softmax", ["product"], ["probabilities"], name="/Softmax", axis=-1),
    ]
    weights = [
        initializer("layers.0.weight", rng.standard_normal((6, 9))),
        initializer("layers.0.bias", rng.standard_normal(9)),
        initializer("layers.1.weight", rng.standard_normal((9, 4))),
        initializer("layers.1.bias", rng.standard_normal(4)),
    ]
    inputs, outputs = [tensor_type("input", FLOAT, [2, 6])], [tensor_type("probabilities", FLOAT, [2, 4])]
    graph = helper.make_graph(nodes, "local_function", inputs, outputs, weights)
    proto = make_model(graph, 18, functions=[activate, block], domains=[domain])
    write_model(FOLDER, "local_function", proto, {"input": rng.standard_normal((2, 6), np.float32)})


def with_initializer_inputs(nodes, name, inputs, outputs, weights):
    """A graph of IR version 3, where every initialiser is also listed as a graph input."""
    listed = inputs + [tensor_type(w.name, w.data_type, list(w.dims)) for w in weights]
    return helper.make_graph(nodes, name, listed, outputs, weights)


def initializer_inputs():
    rng = seed("initializer_inputs")
    nodes = [
        node("Conv", ["input", "conv.weight", "conv.bias"], ["conv"], name="conv", kernel_shape=[3, 3]),
        node("Relu", ["conv"], ["relu"], name="relu"),
        node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
        node("Flatten", ["pool"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], name="fc", transB=1),
    ]
    inputs, outputs = [tensor_type("input", FLOAT, [1, 3, 7, 7])], [tensor_type("logits", FLOAT, [1, 5])]
    graph = with_initializer_inputs(nodes, "initializer_inputs", inputs, outputs, conv_net_weights(rng))
    feeds = {"input": rng.standard_normal((1, 3, 7, 7), np.float32)}
    write_model(FOLDER, "initializer_inputs", make_model(graph, 8, ir=3), feeds)


def opset7():
    """Operators in their opset-7 forms, IR version 3."""
    rng = seed("opset7")
    nodes = [
        node("Conv", ["input", "conv.weight", "conv.bias"], ["conv"], name="conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["conv", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["bn"], name="bn1", momentum=0.9, spatial=1),
        node("Relu", ["bn"], ["relu"], name="relu1"),
        node("MaxPool", ["relu"], ["pool"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Dropout", ["pool"], ["kept"], name="drop1", ratio=0.5),
        node("Reshape", ["kept", "shape"], ["flat"], name="reshape1"),
        node("Gemm", ["flat", "fc.weight", "fc.bias"], ["scores"], name="fc1", transB=1, alpha=1.0, beta=1.0),
        node("Softmax", ["scores"], ["probabilities"], name="softmax1", axis=1),
    ]
    weights = [
        initializer("conv.weight", rng.standard_normal((6, 3, 3, 3)) * 0.3),
        initializer("conv.bias", rng.standard_normal(6)),
        initializer("bn.scale", rng.uniform(0.5, 1.5, 6)),
        initializer("bn.bias", rng.standard_normal(6)),
        initializer("bn.mean", rng.standard_normal(6)),
        initializer("bn.var", rng.uniform(0.5, 1.5, 6)),
        initializer("shape", [1, -1], np.int64),
        initializer("fc.weight", rng.standard_normal((5, 96)) * 0.2),
        initializer("fc.bias", rng.standard_normal(5)),
    ]
    inputs, outputs = [tensor_type("input", FLOAT, [1, 3, 8, 8])], [tensor_type("probabilities", FLOAT, [1, 5])]
    graph = with_initializer_inputs(nodes, "opset7", inputs, outputs, weights)
    write_model(FOLDER, "opset7", make_model(graph, 7, ir=3), {"input": rng.standard_normal((1, 3, 8, 8), np.float32)})


def reshape_shape_ops(name, batch):
    """`x.view(x.size(0), -1, 4)` and `x.view(n, c*h, w)` as the legacy exporter writes them with a dynamic batch."""
    rng = seed("reshape_shape_ops")

    def int_constant(output, value):
        return node("Constant", [], [output], name=f"/{output}", value=initializer("", value, np.int64))

    nodes = [
        node("Shape", ["input"], ["shape"], name="/Shape"),
        int_constant("zero", 0),
        node("Gather", ["shape", "zero"], ["n"], name="/Gather", axis=0),
        int_constant("axis0", [0]),
        node("Unsqueeze", ["n", "axis0"], ["n1"], name="/Unsqueeze"),
        int_constant("minus1", [-1]),
        int_constant("four", [4]),
        node("Concat", ["n1", "minus1", "four"], ["target"], name="/Concat", axis=0),
        node("Reshape", ["input", "target"], ["view"], name="/Reshape"),
        node("Relu", ["view"], ["relu"], name="/Relu"),
        # A slice of a shape, and arithmetic on its elements.
        node("Shape", ["input"], ["shape2"], name="/Shape_1"),
        int_constant("one", [1]),
        int_constant("three", [3]),
        node("Slice", ["shape2", "one", "three", "axis0"], ["ch"], name="/Slice"),
        int_constant("i0", 0),
        int_constant("i1", 1),
        node("Gather", ["ch", "i0"], ["c"], name="/Gather_1", axis=0),
        node("Gather", ["ch", "i1"], ["h"], name="/Gather_2", axis=0),
        node("Mul", ["c", "h"], ["rows"], name="/Mul"),
        node("Cast", ["rows"], ["rows64"], name="/Cast", to=TensorProto.INT64),
        node("Unsqueeze", ["rows64", "axis0"], ["rows1"], name="/Unsqueeze_1"),
        node("Concat", ["n1", "rows1", "minus1"], ["target2"], name="/Concat_1", axis=0),
        node("Reshape", ["relu", "target2"], ["output"], name="/Reshape_1"),
    ]
    inputs, outputs = [tensor_type("input", FLOAT, [batch, 3, 5, 8])], [tensor_type("output", FLOAT, [batch, 15, 8])]
    graph = helper.make_graph(nodes, name, inputs, outputs)
    write_model(FOLDER, name, make_model(graph, 17), {"input": rng.standard_normal((2, 3, 5, 8), np.float32)})


def constant_nodes():
    """`Constant` in each of its numeric forms."""
    rng = seed("constant_nodes")
    nodes = [
        node("Constant", [], ["weight"], name="/weight", value=initializer("", rng.standard_normal((5, 4)))),
        node("Constant", [], ["bias"], name="/bias", value_floats=[0.5, -0.25, 1.0, 2.0]),
        node("Constant", [], ["scale"], name="/scale", value_float=1.5),
        node("Constant", [], ["shape"], name="/shape", value_ints=[1, -1]),
        node("Constant", [], ["index"], name="/index", value_int=2),
        node("MatMul", ["input", "weight"], ["product"], name="/MatMul"),
        node("Add", ["product", "bias"], ["sum"], name="/Add"),
        node("Mul", ["sum", "scale"], ["scaled"], name="/Mul"),
        node("Reshape", ["scaled", "shape"], ["flat"], name="/Reshape"),
        node("Gather", ["input", "index"], ["row"], name="/Gather", axis=0),
    ]
    outputs = [tensor_type("flat", FLOAT, [1, 12]), tensor_type("row", FLOAT, [5])]
    graph = helper.make_graph(nodes, "constant_nodes", [tensor_type("input", FLOAT, [3, 5])], outputs)
    write_model(FOLDER, "constant_nodes", make_model(graph, 17), {"input": rng.standard_normal((3, 5), np.float32)})


GRAPHS = {
    "three_unsupported": three_unsupported,
    "bad_rank": bad_rank,
    "symbolic_batch": symbolic_batch,
    "symbolic_positions": symbolic_positions,
    "symbolic_pooling": symbolic_pooling,
    "local_function": local_function,
    "initializer_inputs": initializer_inputs,
    "opset7": opset7,
    "reshape_shape_ops": lambda: reshape_shape_ops("reshape_shape_ops", 2),
    "reshape_shape_ops_dynamic": lambda: reshape_shape_ops("reshape_shape_ops_dynamic", "batch"),
    "constant_nodes": constant_nodes,
}


def main():
    parser = argparse.ArgumentParser(description="Write the hand-made ONNX cases and their goldens.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these graphs or operator cases (default: all)")
    options = parser.parse_args()
    folder = FOLDER / "ops"
    folder.mkdir(exist_ok=True)
    wanted = set(options.only or [])
    unknown = wanted - set(GRAPHS) - {row[0] for row in ops.CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    for name, make in GRAPHS.items():
        if not wanted or name in wanted:
            make()
    for row in ops.CASES:
        if not wanted or row[0] in wanted:
            try:
                write_op(folder, *row)
            except Exception as error:
                raise SystemExit(f"error: {row[0]}: {error}") from error
    names = [row[0] for row in ops.CASES]
    assert len(names) == len(set(names)), "two cases with one name"
    if not wanted:
        stale = {p.stem for p in folder.glob("*.onnx")} - set(names)
        if stale:
            common.progress(f"note: in ops/ without a row in ops.py: {', '.join(sorted(stale))}")
    common.progress(f"{len(GRAPHS)} graphs, {len(names)} operator cases")


if __name__ == "__main__":
    main()
