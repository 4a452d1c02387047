//! Attributes of operators: the value types an operator's fields may have, and the macro that declares such a struct.
//! From the declaration follow reading, printing and comparing; nothing else names an attribute.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::ops::control::Subgraph;
use crate::pointwise::Pointwise;

/// The value of an attribute, as text formats and rules see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Dims(Vec<Dim>),
    /// An enum's or a dtype's name.
    Name(String),
    Pointwise(Pointwise),
    Graph(Subgraph),
}

/// A Rust type that can be an operator's field.
pub trait AttrValue: Sized {
    /// What a wrong attribute is told to be, e.g. `a list of integers`.
    const EXPECTED: &'static str;
    fn to_attr(&self) -> Attr;
    fn from_attr(attr: &Attr) -> Option<Self>;
    /// Value when the text leaves the attribute out; `None`: it must be given.
    fn default_value() -> Option<Self> {
        None
    }
    /// True for values that the printer leaves out.
    fn is_default(&self) -> bool {
        Self::default_value().is_some_and(|d| d.to_attr() == self.to_attr())
    }
}

impl AttrValue for i64 {
    const EXPECTED: &'static str = "an integer";
    fn to_attr(&self) -> Attr {
        Attr::Int(*self)
    }
    fn from_attr(attr: &Attr) -> Option<i64> {
        match attr {
            Attr::Int(i) => Some(*i),
            _ => None,
        }
    }
}
/// A small integer that is usually 0.
impl AttrValue for i32 {
    const EXPECTED: &'static str = "an integer of 32 bits";
    fn to_attr(&self) -> Attr {
        Attr::Int((*self).into())
    }
    fn from_attr(attr: &Attr) -> Option<i32> {
        match attr {
            Attr::Int(i) => i32::try_from(*i).ok(),
            _ => None,
        }
    }
    fn default_value() -> Option<i32> {
        Some(0)
    }
}
impl AttrValue for f64 {
    const EXPECTED: &'static str = "a number";
    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }
    fn from_attr(attr: &Attr) -> Option<f64> {
        match attr {
            Attr::Float(x) => Some(*x),
            Attr::Int(i) => Some(*i as f64),
            _ => None,
        }
    }
}
impl AttrValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn to_attr(&self) -> Attr {
        Attr::Bool(*self)
    }
    fn from_attr(attr: &Attr) -> Option<bool> {
        match attr {
            Attr::Bool(b) => Some(*b),
            _ => None,
        }
    }
    fn default_value() -> Option<bool> {
        Some(false)
    }
}
impl AttrValue for Vec<i64> {
    const EXPECTED: &'static str = "a list of integers";
    fn to_attr(&self) -> Attr {
        Attr::Dims(self.iter().map(|i| Dim::from(*i)).collect())
    }
    fn from_attr(attr: &Attr) -> Option<Vec<i64>> {
        match attr {
            Attr::Dims(dims) => dims.iter().map(Dim::as_const).collect(),
            _ => None,
        }
    }
}
impl AttrValue for Vec<Dim> {
    const EXPECTED: &'static str = "a list of sizes";
    fn to_attr(&self) -> Attr {
        Attr::Dims(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Vec<Dim>> {
        match attr {
            Attr::Dims(dims) => Some(dims.clone()),
            _ => None,
        }
    }
}
impl AttrValue for DType {
    const EXPECTED: &'static str = "an element type";
    fn to_attr(&self) -> Attr {
        Attr::Name(self.name().into())
    }
    fn from_attr(attr: &Attr) -> Option<DType> {
        match attr {
            Attr::Name(name) => DType::from_name(name),
            _ => None,
        }
    }
}
impl AttrValue for Pointwise {
    const EXPECTED: &'static str = "an expression in braces";
    fn to_attr(&self) -> Attr {
        Attr::Pointwise(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Pointwise> {
        match attr {
            Attr::Pointwise(p) => Some(p.clone()),
            _ => None,
        }
    }
    fn default_value() -> Option<Pointwise> {
        Some(Pointwise::identity())
    }
}

/// Declares an enum that can be an attribute; variants print as the given names.
#[macro_export]
macro_rules! attr_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }
        impl $name {
            /// Every variant, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            pub const fn name(self) -> &'static str { match self { $($name::$variant => $text),* } }
        }
        impl $crate::attr::AttrValue for $name {
            const EXPECTED: &'static str = concat!("one of" $(, " ", $text)*);
            fn to_attr(&self) -> $crate::attr::Attr { $crate::attr::Attr::Name(self.name().into()) }
            fn from_attr(attr: &$crate::attr::Attr) -> Option<Self> {
                match attr {
                    $crate::attr::Attr::Name(name) => Self::ALL.iter().copied().find(|v| v.name() == name),
                    _ => None,
                }
            }
        }
    };
}

/// Reflection over an operator's fields; implemented by [`attrs!`](crate::attrs).
pub trait Attrs: Sized {
    /// Field names in order of declaration.
    const NAMES: &'static [&'static str];
    /// Fields that differ from their default, in order of declaration.
    fn attrs(&self) -> Vec<(&'static str, Attr)>;
    /// Builds from named attributes; says what is missing, unknown or of the wrong kind.
    fn from_attrs(attrs: &[(String, Attr)]) -> Result<Self, String>;
}

/// Declares an operator's struct: public fields whose types are [`AttrValue`]s.
#[macro_export]
macro_rules! attrs {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* pub $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl $crate::attr::Attrs for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
            #[allow(unused_mut, clippy::vec_init_then_push)]
            fn attrs(&self) -> Vec<(&'static str, $crate::attr::Attr)> {
                let mut list = vec![];
                $(if !$crate::attr::AttrValue::is_default(&self.$field) {
                    list.push((stringify!($field), $crate::attr::AttrValue::to_attr(&self.$field)));
                })*
                list
            }
            fn from_attrs(attrs: &[(String, $crate::attr::Attr)]) -> Result<Self, String> {
                if let Some((name, _)) = attrs.iter().find(|(name, _)| !Self::NAMES.contains(&name.as_str())) {
                    return Err(format!("unknown attribute `{name}`; known are: {}", Self::NAMES.join(", ")));
                }
                Ok($name { $($field: $crate::attr::read_attr::<$ty>(attrs, stringify!($field))?),* })
            }
        }
    };
}

/// One field of an [`attrs!`](crate::attrs) struct.
pub fn read_attr<T: AttrValue>(attrs: &[(String, Attr)], name: &str) -> Result<T, String> {
    match attrs.iter().find(|(n, _)| n == name) {
        Some((_, attr)) => T::from_attr(attr).ok_or_else(|| format!("attribute `{name}` must be {}", T::EXPECTED)),
        None => T::default_value().ok_or_else(|| format!("attribute `{name}` is missing ({})", T::EXPECTED)),
    }
}
