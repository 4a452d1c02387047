//! Parsing of graphs, expressions, sizes and types. The header of [`super`] shows the form.

use super::TextError;
use super::lex::{Cursor, Token};
use crate::attr::Attr;
use crate::dim::{Bound, Dim, DimFn};
use crate::for_dtype;
use crate::graph::{Graph, TensorType, ValueId};
use crate::ops::Op;
use crate::ops::control::Subgraph;
use crate::ops::map::Map;
use crate::pointwise::{Fn, Literal, Operand, Pointwise};
use crate::tensor::Tensor;
use crate::{B8, DType};
use std::collections::HashMap;
use std::sync::Arc;

type Result<T> = std::result::Result<T, TextError>;

/// Reads a graph. Constants are given as `[elements]`, `splat(element)` or `random(seed)` (see [`Tensor::random`]).
pub fn parse_graph(text: &str) -> Result<Graph> {
    parse_graph_with(text, &|_| None)
}

/// [`parse_graph`], with the constants that are printed as `#hash` looked up by their [`Tensor::content_hash`].
pub fn parse_graph_with(text: &str, constants: &dyn std::ops::Fn(u64) -> Option<Arc<Tensor>>) -> Result<Graph> {
    graph(&mut Cursor::new(text)?, constants, &Token::End)
}

/// The statements up to `end`.
fn graph(cursor: &mut Cursor, constants: Constants, end: &Token) -> Result<Graph> {
    let mut parser = GraphParser { graph: Graph::new(""), values: HashMap::new(), constants };
    if cursor.take_word("graph") {
        parser.graph.name = cursor.quoted("the graph's name in quotes")?;
    }
    while cursor.peek() != end {
        parser.statement(cursor)?;
    }
    Ok(parser.graph)
}

/// Constants by their [`Tensor::content_hash`].
type Constants<'a> = &'a dyn std::ops::Fn(u64) -> Option<Arc<Tensor>>;

/// Reads an expression such as `{t0 = add(%0, 1.5); mul(t0, sigmoid(t0))}`.
pub fn parse_pointwise(text: &str) -> Result<Pointwise> {
    whole(text, pointwise)
}

/// Reads a size such as `2*batch+floordiv(n,2)`.
pub fn parse_dim(text: &str) -> Result<Dim> {
    whole(text, dim)
}

/// Reads a type such as `f32[batch,3]`.
pub fn parse_type(text: &str) -> Result<TensorType> {
    whole(text, tensor_type)
}

fn whole<T>(text: &str, parse: impl std::ops::Fn(&mut Cursor) -> Result<T>) -> Result<T> {
    let mut cursor = Cursor::new(text)?;
    let value = parse(&mut cursor)?;
    cursor.end()?;
    Ok(value)
}

struct GraphParser<'a> {
    graph: Graph,
    values: HashMap<String, ValueId>,
    constants: Constants<'a>,
}

/// Left side of a definition.
struct Left {
    place: usize,
    key: String,
    name: String,
    ty: Option<TensorType>,
}

impl GraphParser<'_> {
    fn statement(&mut self, c: &mut Cursor) -> Result<()> {
        if c.take_word("symbol") {
            let (name, bound) = symbol(c)?;
            self.graph.symbols.insert(name, bound);
        } else if c.take_word("output") {
            let name = c.quoted("the output's name in quotes")?;
            c.expect('=')?;
            let value = self.value(c)?;
            self.graph.add_output(&name, value);
        } else if matches!(c.peek(), Token::Value(_)) {
            self.definition(c)?;
        } else {
            return Err(c.expected("`symbol`, `output` or a value such as `%0`"));
        }
        Ok(())
    }

    /// A value that was defined before.
    fn value(&mut self, c: &mut Cursor) -> Result<ValueId> {
        let place = c.place();
        match c.next() {
            Token::Value(key) => self.values.get(&key).copied().ok_or_else(|| c.error_at(place, format!("%{key} is not defined before"))),
            other => Err(c.error_at(place, format!("expected a value such as `%0`, found {other}"))),
        }
    }

    fn left(&self, c: &mut Cursor) -> Result<Left> {
        let place = c.place();
        let Token::Value(key) = c.next() else { return Err(c.error_at(place, "expected a value such as `%0`")) };
        if self.values.contains_key(&key) {
            return Err(c.error_at(place, format!("%{key} is defined twice")));
        }
        let name = match c.peek() {
            Token::Quoted(_) => c.quoted("a name")?,
            _ if key.starts_with(|first: char| first.is_ascii_digit()) => String::new(),
            _ => key.clone(),
        };
        let ty = if c.take(':') { Some(self.declared_type(c)?) } else { None };
        Ok(Left { place, key, name, ty })
    }

    /// A type whose symbols are declared.
    fn declared_type(&self, c: &mut Cursor) -> Result<TensorType> {
        let place = c.place();
        let ty = tensor_type(c)?;
        let used = ty.shape.iter().flat_map(Dim::symbols);
        match used.into_iter().find(|s| !self.graph.symbols.contains_key(s)) {
            Some(unknown) => Err(c.error_at(place, format!("the symbol `{unknown}` is not declared (`symbol {unknown}: 1..64`)"))),
            None => Ok(ty),
        }
    }

    fn definition(&mut self, c: &mut Cursor) -> Result<()> {
        let mut lefts = vec![self.left(c)?];
        while c.take(',') {
            lefts.push(self.left(c)?);
        }
        c.expect('=')?;
        let place = c.place();
        let word = c.word("`input`, `const` or an operator")?;
        let ids = if word == "input" || word == "const" {
            let [left] = &lefts[..] else { return Err(c.error_at(place, format!("`{word}` defines one value"))) };
            let Some(ty) = left.ty.clone() else { return Err(c.error_at(left.place, format!("`{word}` needs a type"))) };
            vec![if word == "input" {
                self.graph.add_input(&left.name, ty)
            } else {
                let tensor = self.tensor(c, &ty)?;
                self.graph.add_const(&left.name, tensor)
            }]
        } else {
            self.node(c, place, &word, &lefts)?
        };
        for (left, id) in lefts.into_iter().zip(ids) {
            self.graph.value_mut(id).name = left.name;
            self.values.insert(left.key, id);
        }
        Ok(())
    }

    fn node(&mut self, c: &mut Cursor, place: usize, word: &str, lefts: &[Left]) -> Result<Vec<ValueId>> {
        c.expect('(')?;
        let mut inputs = vec![];
        while matches!(c.peek(), Token::Value(_)) {
            inputs.push(self.value(c)?);
            if !c.take(',') {
                break;
            }
        }
        let attrs = if c.take(';') {
            c.list(')', |c| {
                let name = c.word("an attribute's name")?;
                c.expect('=')?;
                Ok((name, self.attr(c)?))
            })?
        } else {
            c.expect(')')?;
            vec![]
        };
        let op = operator(word, &attrs).map_err(|message| c.error_at(place, message))?;
        let mut origin: Vec<Arc<str>> = vec![];
        if c.take('@') {
            loop {
                origin.push(c.quoted("a layer's name in quotes")?.into());
                if !c.take(',') {
                    break;
                }
            }
        } else {
            let left = &lefts[0];
            origin.push(if left.name.is_empty() { format!("%{}", left.key) } else { left.name.clone() }.into());
        }
        let node = self.graph.add_node(op, &inputs, &origin, "").map_err(|e| c.error_at(place, e.to_string()))?;
        let outputs = self.graph.node(node).outputs.clone();
        if outputs.len() != lefts.len() {
            return Err(c.error_at(place, format!("`{word}` defines {} values, the text names {}", outputs.len(), lefts.len())));
        }
        for (left, id) in lefts.iter().zip(&outputs) {
            let found = self.graph.ty(*id);
            if let Some(stated) = left.ty.as_ref().filter(|stated| *stated != found) {
                return Err(c.error_at(left.place, format!("the type of %{} is {found}, the text says {stated}", left.key)));
            }
        }
        Ok(outputs)
    }

    /// An attribute's value, which may be a graph: `{graph "name" …}`.
    fn attr(&self, c: &mut Cursor) -> Result<Attr> {
        let is_graph = matches!((c.peek(), c.peek_second()), (Token::Punct('{'), Token::Word(word)) if word == "graph");
        if !is_graph {
            return attr(c);
        }
        c.expect('{')?;
        let graph = graph(c, self.constants, &Token::Punct('}'))?;
        c.expect('}')?;
        Ok(Attr::Graph(Subgraph::new(graph)))
    }

    fn tensor(&self, c: &mut Cursor, ty: &TensorType) -> Result<Arc<Tensor>> {
        let place = c.place();
        let Some(shape) = ty.const_shape() else { return Err(c.error_at(place, format!("a constant needs a known shape, found {ty}"))) };
        if let Token::Hash(hash) = c.peek().clone() {
            c.next();
            let found = u64::from_str_radix(&hash, 16).ok().and_then(self.constants);
            let found = found.ok_or_else(|| c.error_at(place, format!("the elements of the constant #{hash} are not in the text")))?;
            if TensorType::of(&found) != *ty {
                return Err(c.error_at(place, format!("the constant #{hash} is {}, the text says {ty}", TensorType::of(&found))));
            }
            return Ok(found);
        }
        let tensor = if c.take('[') {
            let elements = c.list(']', number_text)?;
            let expected: usize = shape.iter().product();
            if elements.len() != expected {
                return Err(c.error_at(place, format!("{ty} has {expected} elements, found {}", elements.len())));
            }
            tensor_of(ty.dtype, &shape, &elements)
        } else if c.take_word("splat") {
            c.expect('(')?;
            let element = number_text(c)?;
            c.expect(')')?;
            tensor_of(ty.dtype, &[], &[element]).map(|one| crate::ops::map::scalar::broadcast_to(&one, &shape))
        } else if c.take_word("random") {
            c.expect('(')?;
            let seed = number_text(c)?.parse().map_err(|_| c.error_at(place, "`random` needs a seed of 64 bits"))?;
            c.expect(')')?;
            Ok(Tensor::random(ty.dtype, &shape, seed))
        } else {
            return Err(c.expected("`[elements]`, `splat(element)`, `random(seed)` or `#hash`"));
        };
        tensor.map(Arc::new).map_err(|message| c.error_at(place, message))
    }
}

/// The operator of a call: a core operator, or a `map` with the scalar function of this name.
pub(super) fn operator(name: &str, attrs: &[(String, Attr)]) -> std::result::Result<Op, String> {
    match Fn::from_name(name) {
        Some(_) if !attrs.is_empty() => Err(format!("the function `{name}` has no attributes")),
        Some(function) => Ok(Map::of(function).into()),
        None if Op::attr_names(name).is_none() => Err(format!("there is no operator or function `{name}`")),
        None => Op::from_attrs(name, attrs).map_err(|e| format!("{name}: {e}")),
    }
}

fn symbol(c: &mut Cursor) -> Result<(Arc<str>, Bound)> {
    let name = match c.peek() {
        Token::Quoted(_) => c.quoted("a symbol")?,
        _ => c.word("a symbol")?,
    };
    c.expect(':')?;
    let min = integer(c)?;
    if c.next() != Token::Range {
        return Err(c.expected("a range such as `1..64`"));
    }
    let max = if matches!(c.peek(), Token::Number(_)) { Some(integer(c)?) } else { None };
    Ok((name.into(), Bound { min, max }))
}

fn integer(c: &mut Cursor) -> Result<i64> {
    let place = c.place();
    number_text(c)?.parse().map_err(|_| c.error_at(place, "expected an integer of 64 bits"))
}

/// A number with its sign as text; also `inf`, `nan`, `true` and `false`.
fn number_text(c: &mut Cursor) -> Result<String> {
    let sign = if c.take('-') { "-" } else { "" };
    match c.peek().clone() {
        Token::Number(text) => {
            c.next();
            Ok(format!("{sign}{text}"))
        }
        Token::Word(word) if is_number_word(&word) || (sign.is_empty() && (word == "true" || word == "false")) => {
            c.next();
            Ok(format!("{sign}{word}"))
        }
        _ => Err(c.expected("a number")),
    }
}

fn is_number_word(word: &str) -> bool {
    matches!(word, "inf" | "NaN" | "nan")
}

/// Elements from their texts, exactly.
fn tensor_of(dtype: DType, shape: &[usize], elements: &[String]) -> std::result::Result<Tensor, String> {
    fn read<P: std::str::FromStr>(text: &str, dtype: DType) -> std::result::Result<P, String> {
        text.parse().map_err(|_| format!("`{text}` is not an element of {dtype}"))
    }
    macro_rules! all {
        ($parsed:ty, $element:ident => $convert:expr) => {{
            let values = elements.iter().map(|text| read::<$parsed>(text, dtype).map(|$element| $convert));
            Tensor::new(shape, &values.collect::<std::result::Result<Vec<_>, _>>()?)
        }};
    }
    Ok(match dtype {
        DType::Bool => all!(bool, x => B8(u8::from(x))),
        DType::F16 => all!(f32, x => half::f16::from_f32(x)),
        DType::BF16 => all!(f32, x => half::bf16::from_f32(x)),
        DType::F32 => all!(f32, x => x),
        DType::F64 => all!(f64, x => x),
        DType::U64 => all!(u64, x => x),
        dtype if dtype.is_narrow_float() => {
            let values = elements.iter().map(|text| read::<f64>(text, dtype)).collect::<std::result::Result<Vec<_>, _>>()?;
            Tensor::from_fn(dtype, shape, |i| values[i])
        }
        _ => {
            let values = elements.iter().map(|text| read::<i64>(text, dtype)).collect::<std::result::Result<Vec<_>, _>>()?;
            for_dtype!(dtype, T => {
                use crate::Element;
                let cast: Vec<T> = values.iter().map(|x| T::from_i64(*x)).collect();
                if let Some(bad) = values.iter().zip(&cast).find(|(x, y)| **x != y.to_i64()).map(|(x, _)| x) {
                    return Err(format!("`{bad}` is not an element of {dtype}"));
                }
                Tensor::new(shape, &cast)
            })
        }
    })
}

pub(super) fn tensor_type(c: &mut Cursor) -> Result<TensorType> {
    let place = c.place();
    let name = c.word("an element type")?;
    let dtype = DType::from_name(&name).ok_or_else(|| c.error_at(place, format!("there is no element type `{name}`")))?;
    c.expect('[')?;
    Ok(TensorType { dtype, shape: c.list(']', dim)? })
}

/// `term (+|- term)*`
fn dim(c: &mut Cursor) -> Result<Dim> {
    let mut sum = if c.take('-') { product(c, true)? } else { product(c, false)? };
    loop {
        if c.take('+') {
            sum = sum + product(c, false)?;
        } else if c.take('-') {
            sum = sum + product(c, true)?;
        } else {
            return Ok(sum);
        }
    }
}

/// `factor (* factor)*`, negated if asked.
fn product(c: &mut Cursor, negative: bool) -> Result<Dim> {
    let mut product = match c.peek().clone() {
        // Read with its sign: the smallest integer has no positive counterpart.
        Token::Number(text) if negative => {
            let place = c.place();
            c.next();
            Dim::from(format!("-{text}").parse::<i64>().map_err(|_| c.error_at(place, "expected an integer of 64 bits"))?)
        }
        _ if negative => -factor(c)?,
        _ => factor(c)?,
    };
    while c.take('*') {
        product = product * factor(c)?;
    }
    Ok(product)
}

fn factor(c: &mut Cursor) -> Result<Dim> {
    let place = c.place();
    match c.next() {
        Token::Number(text) => text.parse::<i64>().map(Dim::from).map_err(|_| c.error_at(place, "expected an integer of 64 bits")),
        Token::Word(name) if *c.peek() == Token::Punct('(') => {
            let function = DimFn::from_name(&name).ok_or_else(|| c.error_at(place, format!("there is no function `{name}` of sizes")))?;
            c.expect('(')?;
            let a = dim(c)?;
            c.expect(',')?;
            let b = dim(c)?;
            c.expect(')')?;
            Ok(Dim::binary(function, a, b))
        }
        Token::Word(name) | Token::Quoted(name) => Ok(Dim::symbol(&name)),
        Token::Punct('(') => {
            let inner = dim(c)?;
            c.expect(')')?;
            Ok(inner)
        }
        other => Err(c.error_at(place, format!("expected a size, found {other}"))),
    }
}

/// The value of an attribute.
pub(super) fn attr(c: &mut Cursor) -> Result<Attr> {
    let place = c.place();
    match c.peek().clone() {
        Token::Punct('[') => {
            c.next();
            Ok(Attr::Dims(c.list(']', dim)?))
        }
        Token::Punct('{') => Ok(Attr::Pointwise(pointwise(c)?)),
        Token::Word(word) if !is_number_word(&word) => {
            c.next();
            Ok(match &word[..] {
                "true" => Attr::Bool(true),
                "false" => Attr::Bool(false),
                _ => Attr::Name(word),
            })
        }
        Token::Number(_) | Token::Punct('-') | Token::Word(_) => Ok(match literal(c)? {
            Literal::Int(i) => Attr::Int(i),
            Literal::Float(x) => Attr::Float(x),
        }),
        other => Err(c.error_at(place, format!("expected an attribute's value, found {other}"))),
    }
}

/// `1` is an integer, `1.0`, `1e-5`, `inf` and `NaN` are floats.
pub(super) fn literal(c: &mut Cursor) -> Result<Literal> {
    let place = c.place();
    let text = number_text(c)?;
    let integer = text.strip_prefix('-').unwrap_or(&text).bytes().all(|b| b.is_ascii_digit());
    let literal = if integer { text.parse().map(Literal::Int).ok() } else { text.parse().map(Literal::Float).ok() };
    literal.ok_or_else(|| c.error_at(place, format!("`{text}` is not a number of 64 bits")))
}

/// `{name = expression; …; expression}`
fn pointwise(c: &mut Cursor) -> Result<Pointwise> {
    c.expect('{')?;
    let mut body = Pointwise::identity();
    let mut named: HashMap<String, Operand> = HashMap::new();
    while matches!((c.peek(), c.peek_second()), (Token::Word(_), Token::Punct('='))) {
        let place = c.place();
        let name = c.word("a name")?;
        c.expect('=')?;
        let operand = operand(c, &mut body, &named)?;
        c.expect(';')?;
        if named.insert(name.clone(), operand).is_some() {
            return Err(c.error_at(place, format!("`{name}` is defined twice")));
        }
    }
    let place = c.place();
    let result = operand(c, &mut body, &named)?;
    c.expect('}')?;
    match result {
        Operand::Step(_) => {
            body.result_last(result);
            Ok(body)
        }
        Operand::Arg(0) => Ok(Pointwise::identity()),
        _ => Err(c.error_at(place, "the result must be a function's or `%0`")),
    }
}

fn operand(c: &mut Cursor, body: &mut Pointwise, named: &HashMap<String, Operand>) -> Result<Operand> {
    let place = c.place();
    match c.peek().clone() {
        Token::Value(number) => {
            c.next();
            number.parse().map(Operand::Arg).map_err(|_| c.error_at(place, format!("expected an argument's number, found %{number}")))
        }
        Token::Word(name) if *c.peek_second() == Token::Punct('(') => {
            c.next();
            let f = Fn::from_name(&name).ok_or_else(|| c.error_at(place, format!("there is no function `{name}`")))?;
            c.expect('(')?;
            let operands = c.list(')', |c| operand(c, body, named))?;
            if operands.len() != f.arity() {
                return Err(c.error_at(place, format!("{name} takes {} operands, found {}", f.arity(), operands.len())));
            }
            Ok(body.push(f, operands))
        }
        Token::Word(name) if !is_number_word(&name) => {
            c.next();
            named.get(&name).copied().ok_or_else(|| c.error_at(place, format!("`{name}` is not defined before")))
        }
        _ => literal(c).map(Operand::Literal),
    }
}
