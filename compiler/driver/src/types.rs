//! TypeScript types of one model: its inputs and outputs by name, for the loader's `Model<Inputs, Outputs>`. The loader
//! itself needs none of it.

use crate::engine::spelled;
use abi::manifest::{Manifest, Size, Tensor};
use std::fmt::Write as _;

/// Typed array of each element type, as the loader has them.
const ARRAYS: &[(&str, &str)] = &[
    ("f32", "Float32Array"),
    ("f64", "Float64Array"),
    ("f16", "Uint16Array"),
    ("bf16", "Uint16Array"),
    ("i8", "Int8Array"),
    ("i16", "Int16Array"),
    ("i32", "Int32Array"),
    ("i64", "BigInt64Array"),
    ("u8", "Uint8Array"),
    ("u16", "Uint16Array"),
    ("u32", "Uint32Array"),
    ("u64", "BigUint64Array"),
    ("bool", "Uint8Array"),
];

/// The contents of `model.d.ts`.
pub fn declarations(manifest: &Manifest) -> String {
    let mut out =
        String::from("// Written by `wasm-torch export --types`. Do not edit.\n\nimport type { Model, Tensor } from 'wasm-torch';\n\n");
    let mut put = |name: &str, doc: &str, tensors: &[Tensor], member: fn(&Tensor) -> String| {
        writeln!(out, "/** {doc} */\nexport type {name} = {{").expect("writing to a string");
        for tensor in tensors {
            writeln!(out, "  /** {} */\n  {};", comment(&described(tensor)), member(tensor)).expect("writing to a string");
        }
        out.push_str("};\n\n");
    };
    put("Inputs", "What `forward` takes.", &manifest.inputs, |t| format!("readonly {}: Tensor", quoted(&t.name)));
    put("Outputs", "What `forward` gives.", &manifest.outputs, |t| format!("{}: {}", quoted(&t.name), output(t)));
    let model = comment(&manifest.model);
    writeln!(out, "/** The model `{model}`: `const model = (await loadModel(url)) as TypedModel`. */").expect("writing to a string");
    out.push_str("export type TypedModel = Model<Inputs, Outputs>;\n");
    out
}

fn output(tensor: &Tensor) -> String {
    let array = ARRAYS.iter().find(|(dtype, _)| *dtype == tensor.dtype).map_or("ArrayBufferView", |(_, array)| array);
    // A size that is not fixed is any number.
    let is_fixed = |d: usize| tensor.sizes.as_ref().is_none_or(|sizes| matches!(sizes[d], Size::Number(_)));
    let size = |(d, size): (usize, &u64)| if is_fixed(d) { size.to_string() } else { "number".into() };
    let shape: Vec<String> = tensor.shape.iter().enumerate().map(size).collect();
    let shape = shape.join(", ");
    format!("Tensor & {{ readonly dtype: {}; readonly shape: readonly [{shape}]; readonly data: {array} }}", quoted(&tensor.dtype))
}

/// `f32[1, 3, 224, 224]`.
fn described(tensor: &Tensor) -> String {
    match &tensor.sizes {
        Some(sizes) => format!("{}[{}]", tensor.dtype, spelled(sizes)),
        None => format!("{}{:?}", tensor.dtype, tensor.shape),
    }
}

/// A string literal: names are whatever the exporter wrote.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("strings have a JSON form")
}

/// Text that does not end the comment it is in.
fn comment(text: &str) -> String {
    text.replace("*/", "* /").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_are_quoted() {
        let tensor = |name: &str, dtype: &str| Tensor {
            name: name.into(),
            dtype: dtype.into(),
            shape: vec![1, 10],
            sizes: None,
            offset: 0,
            bytes: 40,
        };
        let text = output(&tensor("x", "i64"));
        assert_eq!(text, r#"Tensor & { readonly dtype: "i64"; readonly shape: readonly [1, 10]; readonly data: BigInt64Array }"#);
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(comment("*/ x"), "* / x");
    }
}
