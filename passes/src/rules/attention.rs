//! Rules that move scales of attention's queries and keys behind their product, where they cost nothing.

use super::{Rule, rule};

pub const RULES: &[Rule] = &[
    rule!("scaled_query" in ["fuse_attention_ops"]:
        "matmul(mul(?q, ?s), ?k; transpose_b=?t)" => "mul(matmul(?q, ?k; transpose_b=?t), ?s)",
        if ["float(?s)", "scalar(?s)", "not_const(?q)", "not_const(?k)"], Single,
        fires "%q: f32[2,3,4] = input  %k: f32[2,4,5] = input
            %s = map(%q; body={mul(%0, 0.5)})  %y = matmul(%s, %k)  output \"y\" = %y",
        // The scaled query is used elsewhere too.
        not "%q: f32[3,4] = input  %k: f32[4,5] = input
            %s = map(%q; body={mul(%0, 0.5)})  %y = matmul(%s, %k)  output \"y\" = %y  output \"s\" = %s"),
    rule!("scaled_key" in ["fuse_attention_ops"]:
        "matmul(?q, mul(?k, ?s); transpose_b=?t)" => "mul(matmul(?q, ?k; transpose_b=?t), ?s)",
        if ["float(?s)", "scalar(?s)", "not_const(?q)", "not_const(?k)"], Single,
        fires "%q: f32[2,3,4] = input  %k: f32[2,5,4] = input
            %s = map(%k; body={mul(%0, 0.5)})  %y = matmul(%q, %s; transpose_b=true)  output \"y\" = %y",
        // A scale per column.
        not "%q: f32[3,4] = input  %k: f32[4,5] = input  %w: f32[5] = const random(1)
            %s = mul(%k, %w)  %y = matmul(%q, %s)  output \"y\" = %y"),
];
