"""Writes cases of onnxruntime's own operators (domain com.microsoft) and their goldens into `contrib/`.

QLinearSoftmax is not among them: onnxruntime looks it up in tables, one step away from the real softmax here and there.

usage: python models/cases/contrib.py [NAME ...]
"""

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

from build import FOLDER, Input, common, constant, integers, make_model, seed, tensor_type, uniform, values

CASES = []


def op(name, op_type, outputs=("y",), domain="com.microsoft", **arguments):
    """Adds one case: keywords holding an `Input` (or None) are inputs in order, the others attributes."""
    inputs = {k: v for k, v in arguments.items() if v is None or isinstance(v, Input)}
    CASES.append((name, op_type, domain, inputs, {k: v for k, v in arguments.items() if k not in inputs}, list(outputs)))


def u8(*shape):
    return integers(*shape, low=0, high=256, dtype=np.uint8)


def i8(*shape):
    return integers(*shape, low=-128, high=128, dtype=np.int8)


def scale(x):
    return constant(values(x))


def zero(x, dtype=np.uint8):
    return constant(values(x, dtype))


op("fused_conv_relu", "FusedConv", x=uniform(1, 3, 7, 7), w=constant(4, 3, 3, 3), b=constant(4), pads=[1, 1, 1, 1], activation="Relu")
op("fused_conv_leaky", "FusedConv", x=uniform(1, 3, 6, 6), w=constant(4, 3, 1, 1), activation="LeakyRelu", activation_params=[0.125])
op("fused_conv_sum", "FusedConv", x=uniform(1, 3, 7, 7), w=constant(4, 3, 3, 3), b=constant(4), z=uniform(1, 4, 5, 5), activation="Relu")
op("fused_conv_clip", "FusedConv", x=uniform(1, 3, 7, 7), w=constant(4, 3, 3, 3), activation="Clip", activation_params=[-0.5, 0.75])
op("fused_matmul", "FusedMatMul", a=uniform(2, 5, 3), b=uniform(2, 4, 5), transA=1, transB=1, alpha=0.5)
op("fused_matmul_batches", "FusedMatMul", a=uniform(4, 2, 5), b=uniform(5, 2, 3), transBatchA=1, transBatchB=1)
op("fused_gemm", "FusedGemm", a=uniform(3, 5), b=constant(4, 5), c=constant(4), transB=1, activation="LeakyRelu", activation_alpha=0.25)
op("bias_gelu", "BiasGelu", a=uniform(2, 3, 8), b=constant(8))
op("fast_gelu", "FastGelu", x=uniform(2, 8), b=constant(8))
op("fast_gelu_plain", "FastGelu", x=uniform(2, 8))
op("quick_gelu", "QuickGelu", x=uniform(3, 7))
op("gelu_contrib", "Gelu", x=uniform(3, 7))
op("skip_layer_norm", "SkipLayerNormalization", ("y", "", "", "sum"), x=uniform(2, 3, 8), skip=uniform(2, 3, 8), gamma=constant(8), beta=constant(8), bias=constant(8))
op("skip_layer_norm_plain", "SkipLayerNormalization", x=uniform(2, 3, 8), skip=uniform(2, 3, 8), gamma=constant(8), epsilon=1e-5)
op("skip_simplified", "SkipSimplifiedLayerNormalization", ("y", "", "", "sum"), x=uniform(2, 3, 8), skip=uniform(2, 3, 8), gamma=constant(8), bias=constant(8))
op("simplified", "SimplifiedLayerNormalization", domain="", x=uniform(2, 3, 8), scale=constant(8), axis=-1, epsilon=1e-6)
op("embed_layer_norm", "EmbedLayerNormalization", ("y", "counts"), ids=integers(2, 5, low=0, high=9, dtype=np.int32), segments=integers(2, 5, low=0, high=2, dtype=np.int32), words=constant(9, 8), positions=constant(6, 8), kinds=constant(2, 8), gamma=constant(8), beta=constant(8), mask=values([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], np.int32))

for kind, sample, dtype in (("u8", u8, np.uint8), ("i8", i8, np.int8)):
    op(f"qlinear_add_{kind}", "QLinearAdd", a=sample(2, 9), as_=scale(0.03), az=zero(7, dtype), b=sample(9), bs=scale(0.05), bz=zero(3, dtype), cs=scale(0.07), cz=zero(11, dtype))
    op(f"qlinear_mul_{kind}", "QLinearMul", a=sample(2, 9), as_=scale(0.03), az=zero(7, dtype), b=sample(9), bs=scale(0.05), bz=zero(3, dtype), cs=scale(0.17), cz=zero(11, dtype))
    op(f"qlinear_sigmoid_{kind}", "QLinearSigmoid", x=sample(40), s=scale(0.03), z=zero(7, dtype), ys=scale(0.0041), yz=zero(1, dtype))
    op(f"qlinear_leaky_{kind}", "QLinearLeakyRelu", x=sample(40), s=scale(0.03), z=zero(7, dtype), ys=scale(0.041), yz=zero(1, dtype), alpha=0.2)
    op(f"qlinear_concat_{kind}", "QLinearConcat", ys=scale(0.05), yz=zero(9, dtype), a=sample(2, 4), as_=scale(0.03), az=zero(7, dtype), b=sample(2, 3), bs=scale(0.06), bz=zero(2, dtype), axis=1)
    op(f"qlinear_global_pool_{kind}", "QLinearGlobalAveragePool", x=sample(1, 5, 6, 7), s=scale(0.03), z=zero(7, dtype), ys=scale(0.02), yz=zero(1, dtype))
    op(f"qlinear_pool_{kind}", "QLinearAveragePool", x=sample(1, 5, 6, 7), s=scale(0.03), z=zero(7, dtype), ys=scale(0.0213), yz=zero(1, dtype), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    op(f"quantize_contrib_{kind}", "QuantizeLinear", x=uniform(3, 8), s=scale(0.013), z=zero(5, dtype))
    op(f"dequantize_contrib_{kind}", "DequantizeLinear", x=sample(3, 8), s=scale(0.013), z=zero(5, dtype))
op("qlinear_global_pool_last", "QLinearGlobalAveragePool", x=u8(1, 6, 7, 5), s=scale(0.03), z=zero(7), ys=scale(0.02), yz=zero(1), channels_last=1)
op("qgemm", "QGemm", a=u8(3, 6), as_=scale(0.03), az=zero(7), b=constant(i8(4, 6)), bs=scale([0.01, 0.02, 0.03, 0.04]), bz=zero([0, 1, 2, 3], np.int8), c=constant(integers(4, low=-900, high=900, dtype=np.int32)), ys=scale(0.3), yz=zero(120), transB=1)
op("qgemm_float", "QGemm", a=u8(3, 6), as_=scale(0.03), az=zero(7), b=constant(i8(6, 4)), bs=scale(0.02), bz=zero(1, np.int8), c=None, ys=None, yz=None, alpha=0.5)
op("dynamic_quantize_matmul", "DynamicQuantizeMatMul", a=uniform(3, 6), b=constant(i8(6, 5)), bs=scale(0.02), bz=zero(1, np.int8), bias=constant(5))
op("matmul_integer_to_float", "MatMulIntegerToFloat", a=u8(3, 6), b=constant(i8(6, 5)), as_=scale(0.03), bs=scale([0.01, 0.02, 0.03, 0.04, 0.05]), az=zero(9), bz=zero([0, 1, 2, 3, 4], np.int8), bias=constant(5))
op("matmul_4_bits", "MatMulNBits", a=uniform(3, 40), b=constant(u8(6, 2, 16)), s=constant(12), K=40, N=6, bits=4, block_size=32)
op("matmul_4_bits_zeros", "MatMulNBits", a=uniform(2, 3, 80), b=constant(u8(5, 3, 16)), s=constant(15), z=constant(u8(10)), g=None, bias=constant(5), K=80, N=5, bits=4, block_size=32)
op("matmul_8_bits", "MatMulNBits", a=uniform(3, 32), b=constant(u8(6, 1, 32)), s=constant(6), K=32, N=6, bits=8, block_size=32)


def write(folder, name, op_type, domain, inputs, attributes, outputs):
    rng = seed(name)
    feeds, initializers = {}, []
    for input_name, source in inputs.items():
        if source is None:
            continue
        array = np.asarray(source.make(rng))
        if source.constant:
            initializers.append(numpy_helper.from_array(array, input_name))
        else:
            feeds[input_name] = array
    names = ["" if source is None else input_name for input_name, source in inputs.items()]
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(op_type, names, outputs, name=f"/{name}/{op_type}", domain=domain, **attributes)

    def model(found):
        graph = helper.make_graph([node], name, [tensor_type(n, a) for n, a in feeds.items()], found, initializers)
        return make_model(graph, 17, domains=["com.microsoft"])

    path = folder / f"{name}.onnx"
    onnx.save(model([onnx.ValueInfoProto(name=n) for n in outputs if n]), path)
    found = common.run_onnxruntime(path, feeds)
    onnx.save(model([tensor_type(n, a) for n, a in found.items()]), path)
    common.save_golden(path.with_suffix(".npz"), feeds, common.run_onnxruntime(path, feeds))


def main():
    folder = FOLDER / "contrib"
    folder.mkdir(exist_ok=True)
    for name, *case in CASES:
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            try:
                write(folder, name, *case)
            except Exception as error:
                (folder / f"{name}.onnx").unlink(missing_ok=True)
                common.progress(f"failed: {name}: {str(error)[:300]}")


if __name__ == "__main__":
    main()
