//! Random graphs over tensors `f32[b,s,c]` with free `b` and `s`: products, attention, normalisations, movement. Text only, so
//! that every crate can parse and run them.

/// One graph; `pick(n)` is a random number below n.
pub fn random(pick: &mut dyn FnMut(usize) -> usize) -> String {
    let mut lines = vec!["graph \"free\"".to_string(), "symbol b: 1..3".into(), "symbol s: 1..24".into()];
    let channels = 4 * (1 + pick(3));
    lines.push(format!("%x0: f32[b,s,{channels}] = input"));
    lines.push(format!("%x1: f32[b,s,{channels}] = input"));
    // Names and channels of what there is.
    let mut values = vec![("x0".to_string(), channels), ("x1".to_string(), channels)];
    let mut constants = 0;
    for step in 0..3 + pick(6) {
        let (x, c) = values[values.len() - 1 - pick(values.len().min(3))].clone();
        let y = format!("y{step}");
        let mut constant = |lines: &mut Vec<String>, shape: String| {
            constants += 1;
            lines.insert(5, format!("%w{constants}: f32[{shape}] = const random({})", 17 * step + constants));
            format!("w{constants}")
        };
        let mut out = c;
        match pick(9) {
            0 => {
                out = 4 * (1 + pick(4));
                let (w, bias) = (constant(&mut lines, format!("{c},{out}")), constant(&mut lines, out.to_string()));
                lines.push(format!("%{y} = matmul(%{x}, %{w}, %{bias}; transpose_b=false, epilogue={{relu(add(%0, %1))}})"));
            }
            1 => {
                let w = constant(&mut lines, c.to_string());
                lines.push(format!("%{y}a = mul(%{x}, %{w})"));
                lines.push(format!("%{y} = tanh(%{y}a)"));
            }
            2 => lines.push(format!("%{y} = normalize(%{x}; axes=[2], epsilon=1e-5, center=true)")),
            3 => lines.push(format!("%{y} = softmax(%{x}; axis={})", 1 + pick(2))),
            4 => {
                lines.push(format!("%{y}s = matmul(%{x}, %{x}; transpose_b=true, epilogue={{mul(%0, 0.25)}})"));
                lines.push(format!("%{y}p = softmax(%{y}s; axis=2)"));
                lines.push(format!("%{y} = matmul(%{y}p, %{x}; transpose_b=false)"));
            }
            5 => {
                let part = pick(2);
                lines.push(format!("%{y}c = concat(%{x}, %{x}; axis=1)"));
                let start = ["0", "s"][part];
                lines.push(format!("%{y} = slice(%{y}c; starts=[0,{start},0], counts=[b,s,{c}], steps=[1,1,1])"));
            }
            6 => {
                lines.push(format!("%{y}m = reduce(%{x}; kind={}, axes=[{}], keepdims=true)", ["max", "min"][pick(2)], pick(3)));
                lines.push(format!("%{y} = sub(%{x}, %{y}m)"));
            }
            7 => {
                lines.push(format!("%{y}h = reshape(%{x}; shape=[b,s,2,{}])", c / 2));
                lines.push(format!("%{y}t = transpose(%{y}h; perm=[0,2,1,3])"));
                lines.push(format!("%{y}n = softmax(%{y}t; axis={})", 2 + pick(2)));
                lines.push(format!("%{y}b = transpose(%{y}n; perm=[0,2,1,3])"));
                lines.push(format!("%{y} = reshape(%{y}b; shape=[b,s,{c}])"));
            }
            _ => {
                let like: Vec<String> = values.iter().filter(|(_, n)| *n == c).map(|(name, _)| name.clone()).collect();
                lines.push(format!("%{y}f = reshape(%{x}; shape=[b*s,{c}])"));
                lines.push(format!("%{y}r = relu(%{y}f)"));
                lines.push(format!("%{y}v = reshape(%{y}r; shape=[b,s,{c}])"));
                lines.push(format!("%{y} = add(%{y}v, %{})", like[pick(like.len())]));
            }
        }
        values.push((y, out));
    }
    let last = values.len() - 1;
    lines.push(format!("output \"last\" = %{}", values[last].0));
    lines.push(format!("output \"other\" = %{}", values[2.max(last - 1)].0));
    lines.join("\n") + "\n"
}

/// Values of `b` and `s` to try.
pub const SIZES: &[(i64, i64)] = &[(1, 1), (2, 7), (3, 24), (1, 16), (3, 5)];
