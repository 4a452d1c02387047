//! Layer names: which PyTorch module a node came from, from what the two exporters leave behind.

use crate::proto::NodeProto;
use std::sync::Arc;

/// Layers that a node computes: the module it was traced in and, where the exporter has folded another module into it, the
/// module whose weights it reads. `is_weight` tells initialisers from other inputs.
pub(crate) fn layers(node: &NodeProto, is_weight: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
    let mut layers: Vec<Arc<str>> = vec![];
    if let Some(scope) = dynamo_scope(node) {
        let weight = node.input.iter().find(|input| is_weight(input)).and_then(|w| w.strip_suffix(".weight"));
        layers.extend(weight.filter(|w| *w != scope).map(Arc::from));
        layers.push(scope.into());
    } else {
        layers.push(layer_of_name(node).into());
    }
    layers
}

/// The deepest module in `pkg.torch.onnx.name_scopes`, a Python list of module paths that ends with the operation's own name:
/// `['', 'layer1', 'layer1.0', 'conv2d_3']`. At the top level the operation's name.
fn dynamo_scope(node: &NodeProto) -> Option<String> {
    let text = node.metadata_props.iter().find(|p| p.key() == "pkg.torch.onnx.name_scopes")?.value();
    let names = python_strings(text);
    let (operation, modules) = names.split_last()?;
    modules.last().filter(|m| !m.is_empty()).or(Some(operation)).filter(|s| !s.is_empty()).cloned()
}

/// The string literals of a Python list.
fn python_strings(text: &str) -> Vec<String> {
    let mut strings = vec![];
    let mut chars = text.chars();
    while let Some(quote) = chars.find(|c| matches!(c, '\'' | '"')) {
        let mut string = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\\' => string.extend(chars.next()),
                c if c == quote => break,
                c => string.push(c),
            }
        }
        strings.push(string);
    }
    strings
}

/// `/layer1/layer1.0/conv1/Conv` → `layer1.0.conv1`: the tracing exporter writes the path of attribute names, where an item of
/// a container carries the container's name, and the operator last.
fn layer_of_name(node: &NodeProto) -> String {
    let name = node.name();
    let Some(path) = name.strip_prefix('/') else {
        return match name {
            "" => format!("{}:{}", node.op_type(), node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str)),
            name => name.into(),
        };
    };
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let is_operator = |s: &str| s.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_') == node.op_type();
    if segments.len() > 1 && segments.last().is_some_and(|s| is_operator(s)) {
        segments.pop();
    }
    let mut layer: Vec<&str> = vec![];
    for segment in segments {
        if let Some(last) = layer.last_mut()
            && segment.strip_prefix(*last).is_some_and(|rest| rest.starts_with('.'))
        {
            *last = segment;
        } else {
            layer.push(segment);
        }
    }
    if layer.is_empty() { name.into() } else { layer.join(".") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::StringStringEntryProto;

    fn legacy(name: &str, op_type: &str) -> String {
        let node = NodeProto { name: Some(name.into()), op_type: Some(op_type.into()), output: vec!["y".into()], ..Default::default() };
        layers(&node, |_| false).join(" ")
    }

    fn dynamo(scopes: &str, weight: &str) -> String {
        let entry = StringStringEntryProto { key: Some("pkg.torch.onnx.name_scopes".into()), value: Some(scopes.into()) };
        let node = NodeProto { input: vec!["x".into(), weight.into()], metadata_props: vec![entry], ..Default::default() };
        layers(&node, |i| i == weight).join(" ")
    }

    #[test]
    fn names_of_the_tracing_exporter() {
        for (name, op_type, layer) in [
            ("/layer1/layer1.0/conv1/Conv", "Conv", "layer1.0.conv1"),
            ("/features/features.1/conv/conv.0/conv.0.2/Constant_1", "Constant", "features.1.conv.0.2"),
            ("/features/features.18/features.18.2/Clip", "Clip", "features.18.2"),
            ("/Flatten", "Flatten", "Flatten"),
            ("/layers.0", "Block", "layers.0"),
            ("/encoder/layer.0/foo/FooBar", "FooBar", "encoder.layer.0.foo"),
            ("Conv_12", "Conv", "Conv_12"),
            ("", "Relu", "Relu:y"),
            ("/", "Relu", "/"),
        ] {
            assert_eq!(legacy(name, op_type), layer, "{name}");
        }
    }

    #[test]
    fn scopes_of_the_dynamo_exporter() {
        let deep = "['', 'features', 'features.0', 'features.0.1', '_native_batch_norm_legit_no_training']";
        for (scopes, weight, layer) in [
            (deep, "features.0.0.weight", "features.0.0 features.0.1"),
            ("['', 'classify', 'linear_1']", "classify.weight", "classify"),
            ("['', 'view']", "val_65", "view"),
            ("['relu']", "", "relu"),
            (r#"["", "it's", "x"]"#, "", "it's"),
        ] {
            assert_eq!(dynamo(scopes, weight), layer, "{scopes}");
        }
    }
}
