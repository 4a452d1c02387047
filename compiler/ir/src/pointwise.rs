//! Pointwise: a little expression language over corresponding elements of tensors. It is the body of `map` and the
//! epilogue of every heavy operator; fusion moves it across edges. No indices, no reductions.
//!
//! Text form: `{add(%0, %1)}`, with shared parts named: `{t0 = add(%0, 1.5); mul(t0, sigmoid(t0))}`.

use crate::dtype::DType;
use std::fmt;

/// A literal. Takes the element type of the operand beside it.
#[derive(Debug, Clone, Copy)]
pub enum Literal {
    Float(f64),
    Int(i64),
}

impl Literal {
    pub fn to_f64(self) -> f64 {
        match self {
            Literal::Float(x) => x,
            Literal::Int(i) => i as f64,
        }
    }
    fn key(self) -> (u8, u64) {
        match self {
            Literal::Float(x) => (0, x.to_bits()),
            Literal::Int(i) => (1, i as u64),
        }
    }
}
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Literal::Float(x) => write!(f, "{x:?}"),
            Literal::Int(i) => write!(f, "{i}"),
        }
    }
}
impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Literal {}
impl std::hash::Hash for Literal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// An operand of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The n-th tensor.
    Arg(usize),
    /// The result of an earlier step.
    Step(usize),
    Literal(Literal),
}

/// How a function's result type follows from its operands' types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// All operands and the result have one type.
    Same,
    /// All operands have one type, the result is `bool`.
    Test,
    /// The first operand is `bool`, the others and the result have one type.
    Select,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident $name:literal $arity:literal $typing:ident),* $(,)?) => {
        /// Scalar functions, with the meaning that the table's comments give; IEEE 754 where nothing else is said.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fn {
            $($(#[$doc])* $variant,)*
            /// Conversion to another element type: towards zero and saturating from float to integer, modulo 2^n
            /// between integers (and to integers of less than a byte), `x != 0` to bool.
            Cast(DType),
            /// The same bits as an element of another type of as many bits.
            Bits(DType),
        }
        impl Fn {
            /// Every function but `cast` and `bits`.
            pub const ALL: &'static [Fn] = &[$(Fn::$variant),*];
            pub const fn name(self) -> &'static str { match self { $(Fn::$variant => $name,)* Fn::Cast(_) => "cast", Fn::Bits(_) => "bits" } }
            pub const fn arity(self) -> usize { match self { $(Fn::$variant => $arity,)* Fn::Cast(_) | Fn::Bits(_) => 1 } }
            pub const fn typing(self) -> Typing { match self { $(Fn::$variant => Typing::$typing,)* Fn::Cast(_) | Fn::Bits(_) => Typing::Same } }
            /// The function of this name; `cast_f32`, … for casts, `bits_i32`, … for the bits as another type.
            pub fn from_name(name: &str) -> Option<Fn> {
                match name {
                    $($name => Some(Fn::$variant),)*
                    _ => match name.strip_prefix("cast_") {
                        Some(to) => DType::from_name(to).map(Fn::Cast),
                        None => DType::from_name(name.strip_prefix("bits_")?).map(Fn::Bits),
                    },
                }
            }
        }
    };
}

functions! {
    Add "add" 2 Same,
    Sub "sub" 2 Same,
    Mul "mul" 2 Same,
    /// Integers: rounds towards zero, division by zero gives 0.
    Div "div" 2 Same,
    /// Remainder with the divisor's sign (Python's `%`).
    Mod "mod" 2 Same,
    /// Remainder with the dividend's sign (C's `fmod`).
    Fmod "fmod" 2 Same,
    Pow "pow" 2 Same,
    /// NaN if an operand is NaN.
    Min "min" 2 Same,
    /// NaN if an operand is NaN.
    Max "max" 2 Same,
    And "and" 2 Same,
    Or "or" 2 Same,
    Xor "xor" 2 Same,
    Not "not" 1 Same,
    Equal "equal" 2 Test,
    Less "less" 2 Test,
    LessEqual "less_equal" 2 Test,
    Greater "greater" 2 Test,
    GreaterEqual "greater_equal" 2 Test,
    IsNan "isnan" 1 Test,
    IsInf "isinf" 1 Test,
    /// Integers: moved up by the second operand's number of bits; 0 when that is not less than all.
    Shl "shl" 2 Same,
    /// Integers: moved down, the sign moving in; 0 or −1 when all bits go.
    Shr "shr" 2 Same,
    /// `select(c, a, b)`: a where c, else b.
    Select "select" 3 Select,
    /// `clamp(x, lo, hi)` = min(max(x, lo), hi).
    Clamp "clamp" 3 Same,
    /// max(x, 0); NaN stays NaN.
    Relu "relu" 1 Same,
    Neg "neg" 1 Same,
    Abs "abs" 1 Same,
    /// −1, 0, 1; NaN stays NaN.
    Sign "sign" 1 Same,
    Sqrt "sqrt" 1 Same,
    /// 1 / x
    Reciprocal "reciprocal" 1 Same,
    Exp "exp" 1 Same,
    Log "log" 1 Same,
    Sin "sin" 1 Same,
    Cos "cos" 1 Same,
    Tan "tan" 1 Same,
    Asin "asin" 1 Same,
    Acos "acos" 1 Same,
    Atan "atan" 1 Same,
    Sinh "sinh" 1 Same,
    Cosh "cosh" 1 Same,
    Tanh "tanh" 1 Same,
    Asinh "asinh" 1 Same,
    Acosh "acosh" 1 Same,
    Atanh "atanh" 1 Same,
    Erf "erf" 1 Same,
    /// 1 / (1 + exp(−x))
    Sigmoid "sigmoid" 1 Same,
    /// log(1 + exp(x))
    Softplus "softplus" 1 Same,
    Floor "floor" 1 Same,
    Ceil "ceil" 1 Same,
    /// To nearest, ties to even.
    Round "round" 1 Same,
    /// Towards zero.
    Trunc "trunc" 1 Same,
}

impl Fn {
    /// True when the operands may be swapped.
    pub fn commutes(self) -> bool {
        matches!(self, Fn::Add | Fn::Mul | Fn::Min | Fn::Max | Fn::And | Fn::Or | Fn::Xor | Fn::Equal)
    }
}

/// One application of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    pub f: Fn,
    pub operands: Vec<Operand>,
}

/// An expression: steps in order, the last of which is the result. Without steps the result is `%0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Pointwise {
    pub steps: Vec<Step>,
}

impl Pointwise {
    /// The expression `%0`.
    pub fn identity() -> Pointwise {
        Pointwise::default()
    }

    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// `f(%0, %1, …)`
    pub fn of(f: Fn) -> Pointwise {
        Pointwise { steps: vec![Step { f, operands: (0..f.arity()).map(Operand::Arg).collect() }] }
    }

    /// The function, when the expression is exactly `f(%0, %1, …)`.
    pub fn as_single(&self) -> Option<Fn> {
        match &self.steps[..] {
            [step] if *self == Pointwise::of(step.f) => Some(step.f),
            _ => None,
        }
    }

    /// Appends `f(operands)` unless an equal step exists; its operand.
    pub fn push(&mut self, f: Fn, operands: Vec<Operand>) -> Operand {
        let step = Step { f, operands };
        let at = self.steps.iter().position(|s| *s == step).unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        });
        Operand::Step(at)
    }

    /// One more than the largest argument number that occurs.
    pub fn args(&self) -> usize {
        let used = self.steps.iter().flat_map(|s| &s.operands).filter_map(|o| match o {
            Operand::Arg(i) => Some(i + 1),
            _ => None,
        });
        used.max().unwrap_or(1)
    }

    /// The same expression with argument `i` replaced by `f(i)`.
    pub fn map_args(&self, f: impl std::ops::Fn(usize) -> usize) -> Pointwise {
        let operand = |o: &Operand| match *o {
            Operand::Arg(i) => Operand::Arg(f(i)),
            o => o,
        };
        Pointwise { steps: self.steps.iter().map(|s| Step { f: s.f, operands: s.operands.iter().map(operand).collect() }).collect() }
    }

    /// Substitutes `inner` for argument `at`. Argument numbers of both are taken as given: renumber with
    /// [`Pointwise::map_args`] first. An identity `inner` stands for its `%0`.
    pub fn substitute(&self, at: usize, inner: &Pointwise) -> Pointwise {
        let mut out = Pointwise { steps: inner.steps.clone() };
        let inner_result = if inner.is_identity() { Operand::Arg(0) } else { Operand::Step(inner.steps.len() - 1) };
        if self.is_identity() {
            return if at == 0 { inner.clone() } else { Pointwise::identity() };
        }
        let mut moved: Vec<Operand> = vec![];
        for step in &self.steps {
            let operands = step.operands.iter().map(|o| match *o {
                Operand::Arg(i) if i == at => inner_result,
                Operand::Step(i) => moved[i],
                o => o,
            });
            let operands = operands.collect();
            moved.push(out.push(step.f, operands));
        }
        out.result_last(moved[moved.len() - 1]);
        out
    }

    /// Drops steps that the result does not need and puts the result last.
    pub(crate) fn result_last(&mut self, result: Operand) {
        let Operand::Step(last) = result else { return };
        self.steps.truncate(last + 1);
        let mut needed = vec![false; self.steps.len()];
        needed[last] = true;
        for i in (0..=last).rev() {
            if needed[i] {
                for o in &self.steps[i].operands {
                    if let Operand::Step(j) = o {
                        needed[*j] = true;
                    }
                }
            }
        }
        let mut at = vec![0; self.steps.len()];
        let mut kept = vec![];
        for (i, step) in std::mem::take(&mut self.steps).into_iter().enumerate() {
            if needed[i] {
                at[i] = kept.len();
                kept.push(step);
            }
        }
        for step in &mut kept {
            for o in &mut step.operands {
                if let Operand::Step(j) = o {
                    *j = at[*j];
                }
            }
        }
        self.steps = kept;
    }

    /// Types of the steps, given the types of the arguments; an error sentence when they do not fit.
    pub fn step_types(&self, args: &[DType]) -> Result<Vec<DType>, String> {
        let mut types: Vec<DType> = vec![];
        for step in &self.steps {
            if step.operands.len() != step.f.arity() {
                return Err(format!("{} takes {} operands, found {}", step.f.name(), step.f.arity(), step.operands.len()));
            }
            let of = |o: &Operand| match *o {
                Operand::Arg(i) => args.get(i).copied().map(Some).ok_or_else(|| format!("argument %{i} does not exist")),
                Operand::Step(i) => types.get(i).copied().map(Some).ok_or_else(|| format!("step t{i} is used before it is computed")),
                Operand::Literal(_) => Ok(None),
            };
            let operands: Vec<Option<DType>> = step.operands.iter().map(of).collect::<Result<_, _>>()?;
            let (test, values) = match step.f.typing() {
                Typing::Select => (operands[0], &operands[1..]),
                _ => (Some(DType::Bool), &operands[..]),
            };
            if test.is_some_and(|t| t != DType::Bool) {
                return Err("select needs a bool first operand".into());
            }
            let ty = values.iter().flatten().next().copied().ok_or_else(|| format!("{}: all operands are literals", step.f.name()))?;
            if let Some(other) = values.iter().flatten().find(|t| **t != ty) {
                return Err(format!("{}: operand types {ty} and {other} differ", step.f.name()));
            }
            if let Fn::Bits(to) = step.f
                && to.bits() != ty.bits()
            {
                return Err(format!("bits_{to}: an element of {ty} has another number of bits"));
            }
            types.push(match (step.f, step.f.typing()) {
                (Fn::Cast(to) | Fn::Bits(to), _) => to,
                (_, Typing::Test) => DType::Bool,
                _ => ty,
            });
        }
        Ok(types)
    }

    /// Type of the result, given the types of the arguments.
    pub fn result_type(&self, args: &[DType]) -> Result<DType, String> {
        Ok(self.step_types(args)?.last().copied().unwrap_or(args[0]))
    }

    /// The name of each step that is used more than once: `t0`, `t1`, … in order.
    fn shared_names(&self) -> Vec<Option<usize>> {
        let mut uses = vec![0; self.steps.len()];
        for operand in self.steps.iter().flat_map(|s| &s.operands) {
            if let Operand::Step(i) = operand {
                uses[*i] += 1;
            }
        }
        let mut next = 0..;
        uses.into_iter().map(|n| if n > 1 { next.next() } else { None }).collect()
    }

    fn write_step(&self, i: usize, shared: &[Option<usize>], f: &mut fmt::Formatter) -> fmt::Result {
        let step = &self.steps[i];
        write!(f, "{}(", step.f)?;
        for (n, o) in step.operands.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            match *o {
                Operand::Arg(i) => write!(f, "%{i}")?,
                Operand::Literal(literal) => write!(f, "{literal}")?,
                Operand::Step(i) => match shared[i] {
                    Some(name) => write!(f, "t{name}")?,
                    None => self.write_step(i, shared, f)?,
                },
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Pointwise {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_identity() {
            return f.write_str("{%0}");
        }
        let shared = self.shared_names();
        f.write_str("{")?;
        for (i, name) in shared.iter().enumerate() {
            if let Some(name) = name {
                write!(f, "t{name} = ")?;
                self.write_step(i, &shared, f)?;
                f.write_str("; ")?;
            }
        }
        self.write_step(self.steps.len() - 1, &shared, f)?;
        f.write_str("}")
    }
}
