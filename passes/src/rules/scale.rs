//! Rules that move constant scales into weights and collect constants: algebraically exact, but they round elsewhere.
//! Batch norm behind a convolution disappears by them: the scale goes into the weights, the shift is one bias.

use super::{Rule, rule};

pub const RULES: &[Rule] = &[
    rule!("scale_conv" in ["fuse_conv_bn_relu"]:
        "mul(conv(?x, ?w; strides=?t, pads=?p, dilations=?d, group=?g, data=?l), ?s)" =>
        "conv(?x, mul(?w, reshape(?s; shape=?n)); strides=?t, pads=?p, dilations=?d, group=?g, data=?l)",
        if ["float(?s)", "const(?w)", "const(?s)", "per_output_channel(?s, ?w, ?l, ?n)"], Single,
        fires "%x: f32[1,2,4,4] = input  %w: f32[3,2,3,3] = const random(1)  %s: f32[1,3,1,1] = const random(2)
            %c = conv(%x, %w; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw)
            %y = mul(%s, %c)  output \"y\" = %y",
        // A scale per column of the image.
        not "%x: f32[1,2,3,3] = input  %w: f32[3,2,3,3] = const random(1)  %s: f32[3] = const random(2)
            %c = conv(%x, %w; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw)
            %y = mul(%s, %c)  output \"y\" = %y"),
    rule!("divide_conv" in ["fuse_conv_bn_relu"]:
        "div(conv(?x, ?w; strides=?t, pads=?p, dilations=?d, group=?g, data=?l), ?s)" =>
        "conv(?x, div(?w, reshape(?s; shape=?n)); strides=?t, pads=?p, dilations=?d, group=?g, data=?l)",
        if ["float(?s)", "const(?w)", "const(?s)", "per_output_channel(?s, ?w, ?l, ?n)"], Single,
        fires "%x: f32[1,5,2] = input  %w: f32[3,2,3] = const random(1)  %s: f32[3] = const [1, -2, 3]
            %c = conv(%x, %w; strides=[2], pads=[1,0], dilations=[1], group=1, data=nhwc)
            %y = div(%c, %s)  output \"y\" = %y",
        // The convolution is used elsewhere too.
        not "%x: f32[1,2,5] = input  %w: f32[3,2,3] = const random(1)  %s: f32[3,1] = const [1, -2, 3]
            %c = conv(%x, %w; strides=[2], pads=[1,0], dilations=[1], group=1, data=nchw)
            %y = div(%c, %s)  output \"y\" = %y  output \"c\" = %c"),
    rule!("scale_matmul" in ["fuse_linear_activation"]:
        "mul(matmul(?x, ?w; transpose_b=?t), ?s)" => "matmul(?x, mul(?w, reshape(?s; shape=?n)); transpose_b=?t)",
        if ["float(?s)", "const(?w)", "const(?s)", "per_column(?s, ?w, ?t, ?n)"], Single,
        fires "%x: f32[2,3] = input  %w: f32[4,3] = const random(1)  %s: f32[4] = const random(2)
            %m = matmul(%x, %w; transpose_b=true)  %y = mul(%m, %s)  output \"y\" = %y",
        // A scale per row.
        not "%x: f32[4,3] = input  %w: f32[3,4] = const random(1)  %s: f32[4,1] = const random(2)
            %m = matmul(%x, %w)  %y = mul(%m, %s)  output \"y\" = %y"),
    rule!("divide_matmul" in ["fuse_linear_activation"]:
        "div(matmul(?x, ?w; transpose_b=?t), ?s)" => "matmul(?x, div(?w, reshape(?s; shape=?n)); transpose_b=?t)",
        if ["float(?s)", "const(?w)", "const(?s)", "per_column(?s, ?w, ?t, ?n)"], Single,
        fires "%x: f32[2,3] = input  %w: f32[3,4] = const random(1)
            %m = matmul(%x, %w)  %y = map(%m; body={div(%0, 3.0)})  output \"y\" = %y",
        not "%x: f32[2,3] = input  %w: f32[3,4] = input  %m = matmul(%x, %w)  %y = map(%m; body={div(%0, 3.0)})  output \"y\" = %y"),
    rule!("scale_of_sum" in ["fuse_conv_bn_relu", "fuse_linear_activation"]:
        "mul(add(?c, ?b), ?s)" => "add(mul(?c, ?s), mul(?b, ?s))",
        if ["scaled_contraction(?c)", "const(?b)", "const(?s)", "one_covers(?b, ?s)"], Single,
        fires "%x: f32[2,3] = input  %w: f32[3,4] = const random(1)  %b: f32[4] = const random(2)  %s: f32[4] = const random(3)
            %m = matmul(%x, %w)  %a = add(%m, %b)  %y = mul(%a, %s)  output \"y\" = %y",
        // Nothing takes the scale up.
        not "%x: f32[2,4] = input  %b: f32[4] = const random(2)  %s: f32[4] = const random(3)
            %a = add(%x, %b)  %y = mul(%a, %s)  output \"y\" = %y"),
    rule!("quotient_of_sum" in ["fuse_conv_bn_relu", "fuse_linear_activation"]:
        "div(add(?c, ?b), ?s)" => "add(div(?c, ?s), div(?b, ?s))",
        if ["float(?s)", "scaled_contraction(?c)", "const(?b)", "const(?s)", "one_covers(?b, ?s)"], Single,
        fires "%x: f32[2,3] = input  %w: f32[3,2] = const random(1)  %b: f32[2] = const random(2)  %s: f32[2] = const [3, 5]
            %m = matmul(%x, %w)  %a = add(%m, %b)  %y = div(%a, %s)  output \"y\" = %y",
        not "%x: f32[2,3] = input  %w: f32[3,2] = const random(1)  %b: f32[2] = input  %s: f32[2] = const [3, 5]
            %m = matmul(%x, %w)  %a = add(%m, %b)  %y = div(%a, %s)  output \"y\" = %y"),
    rule!("subtract_constant" in ["fuse_conv_bn_relu", "fuse_linear_activation", "fuse_pointwise"]:
        "sub(?x, ?c)" => "add(?x, neg(?c))", if ["float(?c)", "not_const(?x)", "const(?c)"], Single,
        fires "%x: f32[2,3] = input  %c: f32[3] = const random(1)  %y = sub(%x, %c)  output \"y\" = %y",
        not "%x: f32[2,3] = input  %c: f32[3] = const random(1)  %y = sub(%c, %x)  output \"y\" = %y"),
    rule!("sum_of_constants" in ["fuse_conv_bn_relu", "fuse_linear_activation", "fuse_pointwise"]:
        "add(add(?x, ?a), ?b)" => "add(?x, add(?a, ?b))", if ["not_const(?x)", "const(?a)", "const(?b)", "one_covers(?a, ?b)"], Single,
        fires "%x: f32[2,3] = input  %a: f32[3] = const random(1)  %s = add(%a, %x)  %y = map(%s; body={add(0.5, %0)})  output \"y\" = %y",
        not "%x: f32[2,3] = input  %a: f32[3] = const random(1)  %s = add(%a, %x)  %y = add(%s, %x)  output \"y\" = %y"),
    rule!("product_of_constants" in ["fuse_conv_bn_relu", "fuse_linear_activation", "fuse_pointwise"]:
        "mul(mul(?x, ?a), ?b)" => "mul(?x, mul(?a, ?b))", if ["not_const(?x)", "const(?a)", "const(?b)", "one_covers(?a, ?b)"], Single,
        fires "%x: f32[2,3] = input  %a: f32[3] = const random(1)  %b: f32[1] = const random(2)
            %s = mul(%a, %x)  %y = mul(%b, %s)  output \"y\" = %y",
        // Folded, two small constants would be a large one.
        not "%x: f32[2,3] = input  %a: f32[3] = const random(1)  %b: f32[2,1] = const random(2)
            %s = mul(%a, %x)  %y = mul(%b, %s)  output \"y\" = %y"),
];
