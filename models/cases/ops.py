"""The table of single-operator cases: name, operator, inputs and attributes, one line each. Not a command.

A keyword holding an `Input` is an input of the node, in order (`None`: left out); every other keyword is an attribute.
"""

import numpy as np

from build import Input, booleans, constant, integers, uniform, values

CASES = []
DEFAULT_OPSET = 17


def op(name, op_type, opset=DEFAULT_OPSET, outputs=("y",), **arguments):
    """Adds one row."""
    inputs = {k: v for k, v in arguments.items() if v is None or isinstance(v, Input)}
    attributes = {k: v for k, v in arguments.items() if k not in inputs}
    CASES.append((name, op_type, inputs, attributes, opset, list(outputs)))


# Convolution: x [N,C,H,W], w [O,C/group,kh,kw].
op("conv_1x1", "Conv", x=uniform(1, 8, 5, 6), w=constant(12, 8, 1, 1), b=constant(12))
op("conv_1x1_odd_channels", "Conv", x=uniform(1, 7, 5, 5), w=constant(13, 7, 1, 1), b=constant(13))
op("conv_1x1_stride2", "Conv", x=uniform(1, 8, 7, 6), w=constant(5, 8, 1, 1), strides=[2, 2])
op("conv_3x3_pad1", "Conv", x=uniform(1, 3, 8, 9), w=constant(8, 3, 3, 3), b=constant(8), pads=[1, 1, 1, 1])
op("conv_3x3_no_bias", "Conv", x=uniform(1, 4, 7, 7), w=constant(6, 4, 3, 3))
op("conv_3x3_stride2", "Conv", x=uniform(1, 3, 9, 9), w=constant(10, 3, 3, 3), b=constant(10), pads=[1, 1, 1, 1], strides=[2, 2])
op("conv_3x3_dilation2", "Conv", x=uniform(1, 4, 9, 9), w=constant(6, 4, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2])
op("conv_3x3_batch2", "Conv", x=uniform(2, 5, 6, 6), w=constant(9, 5, 3, 3), b=constant(9), pads=[1, 1, 1, 1])
op("conv_groups2", "Conv", x=uniform(1, 6, 6, 6), w=constant(10, 3, 3, 3), b=constant(10), pads=[1, 1, 1, 1], group=2)
op("conv_depthwise", "Conv", x=uniform(1, 10, 7, 7), w=constant(10, 1, 3, 3), b=constant(10), pads=[1, 1, 1, 1], group=10)
op("conv_depthwise_stride2", "Conv", x=uniform(1, 8, 9, 8), w=constant(8, 1, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2], group=8)
op("conv_depthwise_5x5", "Conv", x=uniform(1, 6, 8, 8), w=constant(6, 1, 5, 5), b=constant(6), pads=[2, 2, 2, 2], group=6)
op("conv_depthwise_multiplier2", "Conv", x=uniform(1, 5, 6, 6), w=constant(10, 1, 3, 3), pads=[1, 1, 1, 1], group=5)
op("conv_5x5", "Conv", x=uniform(1, 2, 9, 9), w=constant(7, 2, 5, 5), b=constant(7), pads=[2, 2, 2, 2])
op("conv_7x7_stride2", "Conv", x=uniform(1, 3, 16, 16), w=constant(8, 3, 7, 7), pads=[3, 3, 3, 3], strides=[2, 2])
op("conv_1x3", "Conv", x=uniform(1, 4, 6, 7), w=constant(5, 4, 1, 3), b=constant(5), pads=[0, 1, 0, 1])
op("conv_asymmetric_pads", "Conv", x=uniform(1, 3, 7, 6), w=constant(5, 3, 3, 3), b=constant(5), pads=[0, 1, 2, 0])
op("conv_same_upper", "Conv", x=uniform(1, 3, 7, 8), w=constant(4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
op("conv_same_lower", "Conv", x=uniform(1, 3, 7, 8), w=constant(4, 3, 4, 4), auto_pad="SAME_LOWER")
op("conv_valid", "Conv", x=uniform(1, 3, 7, 8), w=constant(4, 3, 3, 3), auto_pad="VALID")
op("conv_1d", "Conv", x=uniform(1, 3, 20), w=constant(6, 3, 5), b=constant(6), pads=[2, 2], strides=[2])
op("conv_run_time_weights", "Conv", x=uniform(1, 3, 6, 6), w=uniform(4, 3, 3, 3), pads=[1, 1, 1, 1])
op("conv_transpose_stride2", "ConvTranspose", x=uniform(1, 5, 4, 5), w=constant(5, 6, 2, 2), b=constant(6), strides=[2, 2])
op("conv_transpose_pads", "ConvTranspose", x=uniform(1, 3, 5, 5), w=constant(3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
op("conv_transpose_groups", "ConvTranspose", x=uniform(1, 4, 4, 4), w=constant(4, 3, 3, 3), b=constant(6), group=2)

# Gemm and MatMul.
op("gemm", "Gemm", a=uniform(3, 10), b=constant(10, 7), c=constant(7))
op("gemm_trans_b", "Gemm", a=uniform(1, 20), b=constant(10, 20), c=constant(10), transB=1)
op("gemm_trans_a", "Gemm", a=uniform(10, 3), b=constant(10, 7), transA=1)
op("gemm_alpha_beta", "Gemm", a=uniform(5, 6), b=constant(6, 9), c=constant(5, 9), alpha=0.5, beta=2.0)
op("gemm_column_bias", "Gemm", a=uniform(5, 6), b=constant(6, 9), c=constant(5, 1))
op("gemm_scalar_bias", "Gemm", a=uniform(4, 6), b=constant(6, 4), c=constant(values(0.75)))
op("gemm_run_time_operands", "Gemm", a=uniform(6, 4), b=uniform(9, 6), c=uniform(4, 9), transA=1, transB=1)
op("gemm_opset7", "Gemm", opset=7, a=uniform(2, 5), b=constant(5, 3), c=constant(3))
op("matmul_2d", "MatMul", a=uniform(5, 9), b=constant(9, 13))
op("matmul_run_time_operands", "MatMul", a=uniform(7, 6), b=uniform(6, 10))
op("matmul_batched", "MatMul", a=uniform(3, 4, 5), b=uniform(3, 5, 6))
op("matmul_batch_broadcast", "MatMul", a=uniform(2, 1, 4, 5), b=uniform(3, 5, 6))
op("matmul_batch_by_matrix", "MatMul", a=uniform(2, 3, 8), b=constant(8, 5))
op("matmul_vector_matrix", "MatMul", a=uniform(6), b=constant(6, 4))
op("matmul_matrix_vector", "MatMul", a=uniform(4, 6), b=constant(6))
op("matmul_vector_vector", "MatMul", a=uniform(9), b=uniform(9))

# Pooling.
op("max_pool_2x2", "MaxPool", x=uniform(1, 5, 6, 8), kernel_shape=[2, 2], strides=[2, 2])
op("max_pool_3x3_pads", "MaxPool", x=uniform(1, 6, 9, 9, low=-3.0, high=-1.0), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
op("max_pool_ceil", "MaxPool", x=uniform(1, 3, 8, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
op("max_pool_dilation", "MaxPool", x=uniform(1, 3, 8, 8), kernel_shape=[2, 2], dilations=[2, 2])
op("max_pool_same_upper", "MaxPool", x=uniform(1, 3, 7, 7), kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
op("max_pool_1d", "MaxPool", x=uniform(1, 4, 11), kernel_shape=[3], strides=[2])
op("average_pool_2x2", "AveragePool", x=uniform(1, 5, 6, 6), kernel_shape=[2, 2], strides=[2, 2])
op("average_pool_exclude_pad", "AveragePool", x=uniform(1, 4, 7, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
op("average_pool_include_pad", "AveragePool", x=uniform(1, 4, 7, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
op("average_pool_ceil", "AveragePool", opset=19, x=uniform(1, 3, 8, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
op("global_average_pool", "GlobalAveragePool", x=uniform(1, 10, 5, 7))
op("global_max_pool", "GlobalMaxPool", x=uniform(2, 6, 5, 4))
op("global_lp_pool", "GlobalLpPool", x=uniform(2, 3, 5, 4))
op("global_lp_pool_p3", "GlobalLpPool", x=uniform(1, 3, 7), p=3)

# Normalisation.
NORM = dict(scale=constant(uniform(6, low=0.5, high=1.5)), bias=constant(6))
STATISTICS = dict(mean=constant(6), var=constant(uniform(6, low=0.2, high=2.0)))
op("batch_normalization", "BatchNormalization", x=uniform(2, 6, 4, 5), **NORM, **STATISTICS, epsilon=1e-3)
op("batch_normalization_2d", "BatchNormalization", x=uniform(3, 6), **NORM, **STATISTICS)
op("batch_normalization_opset7", "BatchNormalization", opset=7, x=uniform(1, 6, 3, 3), **NORM, **STATISTICS)
op("layer_normalization", "LayerNormalization", x=uniform(2, 5, 10), scale=constant(10), bias=constant(10))
op("layer_normalization_axis1", "LayerNormalization", x=uniform(2, 3, 7), scale=constant(3, 7), axis=1, epsilon=1e-2)
op("instance_normalization", "InstanceNormalization", x=uniform(2, 6, 4, 5), **NORM)
op("softmax_last", "Softmax", x=uniform(3, 11, low=-6.0, high=6.0))
op("softmax_axis1", "Softmax", x=uniform(2, 5, 3), axis=1)
op("softmax_axis0", "Softmax", x=uniform(4, 5), axis=0)
op("softmax_large_values", "Softmax", x=values([[1000.0, 1001.0, 999.0], [-1000.0, -1000.0, -1000.0]]))
op("softmax_opset11_default", "Softmax", opset=11, x=uniform(2, 3, 4))
op("softmax_opset11_axis2", "Softmax", opset=11, x=uniform(2, 3, 4), axis=2)
op("log_softmax", "LogSoftmax", x=uniform(3, 7, low=-5.0, high=5.0), axis=-1)
op("log_softmax_opset11_axis0", "LogSoftmax", opset=11, x=uniform(2, 3, 4), axis=0)

# Reductions: axes are an attribute before opset 18 (ReduceSum: 13), an input after.
for reduction in ("Mean", "Sum", "Max", "Min", "Prod", "L2", "SumSquare", "L1", "LogSumExp"):
    before = 12 if reduction == "Sum" else 17
    name = f"reduce_{'sum_square' if reduction == 'SumSquare' else 'log_sum_exp' if reduction == 'LogSumExp' else reduction.lower()}"
    op(f"{name}_attribute", f"Reduce{reduction}", opset=before, x=uniform(2, 5, 3, 4), axes=[2, 3])
    op(f"{name}_input", f"Reduce{reduction}", opset=18, x=uniform(3, 5, 6), axes=constant([-1]), keepdims=0)
op("reduce_mean_middle", "ReduceMean", x=uniform(2, 5, 3), axes=[1], keepdims=0)
op("reduce_mean_first", "ReduceMean", x=uniform(7, 5), axes=[0])
op("reduce_sum_all", "ReduceSum", x=uniform(3, 5), keepdims=0)
op("reduce_sum_noop", "ReduceSum", x=uniform(3, 5), noop_with_empty_axes=1)
op("reduce_max_all_keepdims", "ReduceMax", x=uniform(2, 3, 5))
op("arg_max", "ArgMax", x=uniform(3, 7), axis=1, keepdims=0)

# Element by element, two operands, with broadcasting.
for name in ("Add", "Sub", "Mul", "Div"):
    op(f"{name.lower()}_same_shape", name, a=uniform(2, 3, 5), b=uniform(2, 3, 5, low=0.5))
    op(f"{name.lower()}_broadcast", name, a=uniform(2, 1, 5), b=uniform(3, 1, low=0.5))
op("add_channel_constant", "Add", a=uniform(1, 6, 4, 4), b=constant(1, 6, 1, 1))
op("mul_scalar_constant", "Mul", a=uniform(2, 7), b=constant(values(0.5)))
op("mul_channel_gate", "Mul", a=uniform(1, 6, 4, 4), b=uniform(1, 6, 1, 1))
op("add_int64", "Add", a=integers(3, 4), b=integers(4))
op("div_int64", "Div", a=values([7, -7, 7, -7, 9], np.int64), b=values([2, 2, -2, -2, 3], np.int64))
op("pow_square", "Pow", x=uniform(3, 5), exponent=constant(values(2.0)))
op("pow_broadcast", "Pow", x=uniform(3, 5, low=0.1), exponent=uniform(5))
op("min_three", "Min", a=uniform(3, 5), b=uniform(5), c=uniform(3, 1))
op("max_two", "Max", a=uniform(3, 5), b=uniform(1))
op("equal", "Equal", a=integers(4, 5, low=0, high=3), b=integers(5, low=0, high=3))
op("less", "Less", a=uniform(4, 5), b=uniform(4, 1))
op("greater", "Greater", a=uniform(4, 5), b=constant(values(0.0)))
op("where", "Where", condition=booleans(3, 1), a=uniform(3, 5), b=uniform(5))
op("where_constant", "Where", condition=booleans(2, 4), a=uniform(2, 4), b=constant(values(-10000.0)))

# Element by element, one operand.
for name in ("Relu", "Sigmoid", "Tanh", "Erf", "HardSwish", "Softplus", "Exp", "Abs", "Neg", "Floor", "Ceil", "Identity"):
    op(name.lower(), name, x=uniform(2, 3, 7, low=-5.0, high=5.0))
for name in ("Sqrt", "Log", "Reciprocal"):
    op(name.lower(), name, x=uniform(3, 7, low=0.05, high=9.0))
op("sigmoid_extreme", "Sigmoid", x=values([-200.0, -89.0, -17.0, -1e-4, 0.0, 1e-4, 17.0, 89.0, 200.0]))
op("tanh_extreme", "Tanh", x=values([-100.0, -9.1, -0.5, -1e-5, 0.0, 1e-5, 0.5, 9.1, 100.0]))
op("softplus_extreme", "Softplus", x=values([-100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 80.0]))
op("round_ties", "Round", x=values([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49, -3.51, 0.0]))
op("leaky_relu", "LeakyRelu", x=uniform(3, 7), alpha=0.2)
op("leaky_relu_default", "LeakyRelu", x=uniform(3, 7))
op("prelu_channel", "PRelu", x=uniform(1, 5, 3, 4), slope=constant(5, 1, 1))
op("prelu_scalar", "PRelu", x=uniform(3, 7), slope=constant(1))
op("elu", "Elu", x=uniform(3, 7), alpha=1.5)
op("hard_sigmoid", "HardSigmoid", x=uniform(3, 7, low=-5.0, high=5.0))
op("hard_sigmoid_torch", "HardSigmoid", x=uniform(3, 7, low=-5.0, high=5.0), alpha=1 / 6, beta=0.5)
op("gelu_exact", "Gelu", opset=20, x=uniform(3, 7, low=-5.0, high=5.0))
op("gelu_tanh", "Gelu", opset=20, x=uniform(3, 7, low=-5.0, high=5.0), approximate="tanh")
op("clip_attributes", "Clip", opset=6, x=uniform(3, 7, low=-8.0, high=8.0), min=0.0, max=6.0)
op("clip_inputs", "Clip", x=uniform(3, 7, low=-8.0, high=8.0), min=constant(values(0.0)), max=constant(values(6.0)))
op("clip_min_only", "Clip", x=uniform(3, 7), min=constant(values(-0.5)))
op("clip_max_only", "Clip", x=uniform(3, 7), min=None, max=constant(values(0.5)))
op("cast_float_to_int", "Cast", x=values([-2.7, -0.5, 0.0, 0.5, 2.7, 1000.0]), to=7)
op("cast_int_to_float", "Cast", x=integers(3, 4), to=1)
op("cast_bool_to_float", "Cast", x=booleans(3, 4), to=1)
op("cast_float_to_bool", "Cast", x=values([-1.0, 0.0, -0.0, 0.3, 2.0]), to=9)
op("dropout_opset7", "Dropout", opset=7, x=uniform(3, 5), ratio=0.4)
op("dropout_opset13", "Dropout", opset=13, x=uniform(3, 5), ratio=constant(values(0.5)), training_mode=constant(values(False, bool)))

# Moving data.
op("transpose_2d", "Transpose", x=uniform(5, 7))
op("transpose_nchw_nhwc", "Transpose", x=uniform(1, 5, 4, 6), perm=[0, 2, 3, 1])
op("transpose_heads", "Transpose", x=uniform(2, 5, 3, 4), perm=[0, 2, 1, 3])
op("slice_inputs", "Slice", x=uniform(4, 7, 5), starts=constant([1, 0]), ends=constant([3, 4]), axes=constant([0, 2]))
op("slice_negative_step", "Slice", x=uniform(4, 7), starts=constant([-1]), ends=constant([-100]), axes=constant([1]), steps=constant([-2]))
op("slice_huge_end", "Slice", x=uniform(4, 7), starts=constant([-3]), ends=constant([2**63 - 1]), axes=constant([1]), steps=constant([1]))
op("slice_no_axes", "Slice", x=uniform(4, 7), starts=constant([1, 2]), ends=constant([4, 6]))
op("slice_attributes", "Slice", opset=9, x=uniform(4, 7), starts=[1], ends=[6], axes=[1])
op("pad_constant", "Pad", x=uniform(1, 2, 3, 4), pads=constant([0, 0, 1, 2, 0, 0, 3, 0]), value=constant(values(1.5)))
op("pad_zero_default", "Pad", x=uniform(2, 3), pads=constant([1, 0, 0, 2]))
op("pad_crop", "Pad", x=uniform(4, 5), pads=constant([-1, 1, 0, -2]))
op("pad_reflect", "Pad", x=uniform(1, 2, 4, 5), pads=constant([0, 0, 2, 1, 0, 0, 1, 3]), mode="reflect")
op("pad_edge", "Pad", x=uniform(1, 2, 3, 4), pads=constant([0, 0, 2, 1, 0, 0, 1, 3]), mode="edge")
op("pad_axes", "Pad", opset=18, x=uniform(2, 3, 4), pads=constant([1, 2]), value=None, axes=constant([-1]))
op("pad_opset2", "Pad", opset=9, x=uniform(2, 3), pads=[0, 1, 1, 0], value=-1.0)
op("concat_channels", "Concat", a=uniform(1, 3, 4, 4), b=uniform(1, 5, 4, 4), axis=1)
op("concat_last_three", "Concat", a=uniform(2, 3), b=uniform(2, 1), c=uniform(2, 4), axis=-1)
op("split_equal", "Split", outputs=("y0", "y1"), x=uniform(2, 6), axis=1)
op("split_sizes", "Split", outputs=("y0", "y1", "y2"), x=uniform(2, 7), split=constant([2, 4, 1]), axis=-1)
op("split_attribute", "Split", opset=11, outputs=("y0", "y1"), x=uniform(5, 3), axis=0, split=[2, 3])
op("split_num_outputs", "Split", opset=18, outputs=("y0", "y1", "y2"), x=uniform(2, 7), axis=1, num_outputs=3)
op("squeeze", "Squeeze", x=uniform(1, 3, 1, 5), axes=constant([0, -2]))
op("squeeze_all", "Squeeze", x=uniform(1, 3, 1, 5))
op("squeeze_attribute", "Squeeze", opset=11, x=uniform(1, 3, 1, 5), axes=[2])
op("unsqueeze", "Unsqueeze", x=uniform(3, 5), axes=constant([0, -1]))
op("unsqueeze_attribute", "Unsqueeze", opset=11, x=uniform(3, 5), axes=[1])
op("reshape", "Reshape", x=uniform(2, 3, 4), shape=constant([0, -1]))
op("reshape_allow_zero", "Reshape", x=uniform(2, 6), shape=constant([3, 4]), allowzero=1)
op("flatten", "Flatten", x=uniform(2, 3, 4, 5))
op("flatten_axis2", "Flatten", x=uniform(2, 3, 4), axis=2)
op("flatten_axis0", "Flatten", x=uniform(2, 3), axis=0)
op("expand", "Expand", x=uniform(3, 1), shape=constant([2, 1, 4]))
op("tile", "Tile", x=uniform(2, 3), repeats=constant([2, 3]))
op("gather_axis0", "Gather", table=constant(9, 4), indices=values([[0, 8], [3, 3]], np.int64))
op("gather_axis1", "Gather", x=uniform(3, 5, 2), indices=constant([4, 0, 2]), axis=1)
op("gather_negative_indices", "Gather", x=uniform(5, 3), indices=values([-1, -5, 2], np.int64))
op("gather_scalar_index", "Gather", x=uniform(3, 5), indices=constant(values(1, np.int64)), axis=1)
op("constant_of_shape", "ConstantOfShape", shape=constant([2, 3]))
op("shape", "Shape", x=uniform(2, 3, 4))
op("depth_to_space_dcr", "DepthToSpace", x=uniform(1, 8, 2, 3), blocksize=2)
op("depth_to_space_crd", "DepthToSpace", x=uniform(1, 12, 2, 3), blocksize=2, mode="CRD")
op("space_to_depth", "SpaceToDepth", x=uniform(1, 3, 4, 6), blocksize=2)

# Resampling; roi and scales or sizes as constants.
SCALE2 = dict(roi=None, scales=constant(values([1.0, 1.0, 2.0, 2.0])))
op("resize_nearest", "Resize", x=uniform(1, 3, 3, 4), **SCALE2, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
op("resize_nearest_half_pixel", "Resize", x=uniform(1, 2, 3, 4), roi=None, scales=constant(values([1.0, 1.0, 1.5, 2.5])), mode="nearest")
op("resize_linear", "Resize", x=uniform(1, 3, 3, 4), **SCALE2, mode="linear", coordinate_transformation_mode="half_pixel")
op("resize_linear_pytorch", "Resize", x=uniform(1, 2, 4, 4), roi=None, scales=None, sizes=constant([1, 2, 7, 9]), mode="linear",
   coordinate_transformation_mode="pytorch_half_pixel")
op("resize_linear_align_corners", "Resize", x=uniform(1, 2, 3, 4), roi=None, scales=None, sizes=constant([1, 2, 6, 7]), mode="linear",
   coordinate_transformation_mode="align_corners")
op("resize_linear_down", "Resize", x=uniform(1, 2, 8, 8), roi=None, scales=constant(values([1.0, 1.0, 0.5, 0.5])), mode="linear")
op("resize_nearest_opset10", "Resize", opset=10, x=uniform(1, 2, 3, 3), scales=constant(values([1.0, 1.0, 2.0, 2.0])), mode="nearest")
