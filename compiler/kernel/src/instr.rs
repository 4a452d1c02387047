//! Instructions as values: the enums, names, signatures and required features that follow from the table. Semantics
//! are in `eval.rs`, encodings in `emit.rs`; both expand the same table.

use crate::ir::Ty;
use crate::lanes::*;
use crate::table::for_each_instr;

/// What an engine must support to run an instruction. Ordered from the most to the least widely available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// The first version of wasm, with sign extension and saturating conversions, which every engine with SIMD has.
    Mvp,
    Simd128,
    BulkMemory,
    RelaxedSimd,
}

/// A set of [`Feature`]s; `Mvp` is always a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Features {
    pub simd128: bool,
    pub bulk_memory: bool,
    pub relaxed_simd: bool,
}

impl Features {
    pub fn insert(&mut self, feature: Feature) {
        match feature {
            Feature::Mvp => {}
            Feature::Simd128 => self.simd128 = true,
            Feature::BulkMemory => self.bulk_memory = true,
            Feature::RelaxedSimd => {
                self.simd128 = true;
                self.relaxed_simd = true;
            }
        }
    }

    pub fn union(self, other: Features) -> Features {
        Features {
            simd128: self.simd128 || other.simd128,
            bulk_memory: self.bulk_memory || other.bulk_memory,
            relaxed_simd: self.relaxed_simd || other.relaxed_simd,
        }
    }
}

/// Operand types and result type of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    pub params: &'static [Ty],
    pub result: Ty,
}

/// Which immediate an operator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmKind {
    None,
    /// A lane index below this number.
    Lane(u8),
    /// Sixteen byte indices below 32.
    Shuffle,
}

/// The immediate of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Imm {
    None,
    Lane(u8),
    Shuffle([u8; 16]),
}

macro_rules! define_instrs {
    (
        ops { $($of:ident $ov:ident $ofeat:ident ($($oa:ident: $ot:ty),*) -> $or:ty $ob:block)* }
        trapping_ops { $($tf:ident $tv:ident $tfeat:ident ($($ta:ident: $tt:ty),*) -> $tr:ty $tb:block)* }
        lane_ops { $($lf:ident $lv:ident $lfeat:ident [$ln:literal] ($li:ident; $($la:ident: $lt:ty),*) -> $lr:ty $lb:block)* }
        relaxed_ops { $($rf:ident $rv:ident $rfeat:ident ($rr:ident; $($ra:ident: $rt:ty),*) -> $rres:ty $rb:block)* }
        loads { $($ldf:ident $ldv:ident $ldfeat:ident ($ldb:ident: [u8; $ldn:literal]) -> $ldr:ty $ldblock:block)* }
        lane_loads { $($llf:ident $llv:ident $llfeat:ident [$lll:literal] ($lli:ident, $llb:ident: [u8; $lln:literal]; $llvec:ident: $llt:ty) -> $llr:ty $llblock:block)* }
        stores { $($sf:ident $sv:ident $sfeat:ident ($sa:ident: $st:ty) -> [u8; $sn:literal] $sb:block)* }
        lane_stores { $($slf:ident $slv:ident $slfeat:ident [$sll:literal] ($sli:ident; $sla:ident: $slt:ty) -> [u8; $sln:literal] $slb:block)* }
    ) => {
        /// Operators: values in, one value out, no memory.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Instr {
            I8x16Shuffle,
            $($ov,)* $($tv,)* $($lv,)* $($rv,)*
        }

        impl Instr {
            pub const ALL: &'static [Instr] = &[
                Instr::I8x16Shuffle,
                $(Instr::$ov,)* $(Instr::$tv,)* $(Instr::$lv,)* $(Instr::$rv,)*
            ];

            /// The name of the typed constructor in [`crate::ops`].
            pub const fn constructor(self) -> &'static str {
                match self {
                    Instr::I8x16Shuffle => "i8x16_shuffle",
                    $(Instr::$ov => stringify!($of),)*
                    $(Instr::$tv => stringify!($tf),)*
                    $(Instr::$lv => stringify!($lf),)*
                    $(Instr::$rv => stringify!($rf),)*
                }
            }

            pub const fn signature(self) -> Signature {
                match self {
                    Instr::I8x16Shuffle => Signature { params: &[Ty::V128, Ty::V128], result: Ty::V128 },
                    $(Instr::$ov => Signature { params: &[$(<$ot as Lanes>::TY),*], result: <$or as Lanes>::TY },)*
                    $(Instr::$tv => Signature { params: &[$(<$tt as Lanes>::TY),*], result: <$tr as Lanes>::TY },)*
                    $(Instr::$lv => Signature { params: &[$(<$lt as Lanes>::TY),*], result: <$lr as Lanes>::TY },)*
                    $(Instr::$rv => Signature { params: &[$(<$rt as Lanes>::TY),*], result: <$rres as Lanes>::TY },)*
                }
            }

            pub const fn feature(self) -> Feature {
                match self {
                    Instr::I8x16Shuffle => Feature::Simd128,
                    $(Instr::$ov => Feature::$ofeat,)*
                    $(Instr::$tv => Feature::$tfeat,)*
                    $(Instr::$lv => Feature::$lfeat,)*
                    $(Instr::$rv => Feature::$rfeat,)*
                }
            }

            pub const fn imm_kind(self) -> ImmKind {
                match self {
                    Instr::I8x16Shuffle => ImmKind::Shuffle,
                    $(Instr::$lv => ImmKind::Lane($ln),)*
                    _ => ImmKind::None,
                }
            }

            /// Whether some operand values trap.
            pub const fn may_trap(self) -> bool {
                matches!(self, $(Instr::$tv)|*)
            }

            /// Whether the result depends on [`RelaxedSemantics`](crate::RelaxedSemantics).
            pub const fn is_relaxed(self) -> bool {
                matches!(self, $(Instr::$rv)|*)
            }
        }

        /// Loads: an address in, one value out. Lane loads also take the vector whose lane they replace.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LoadOp {
            $($ldv,)* $($llv,)*
        }

        impl LoadOp {
            pub const ALL: &'static [LoadOp] = &[$(LoadOp::$ldv,)* $(LoadOp::$llv,)*];

            pub const fn constructor(self) -> &'static str {
                match self {
                    $(LoadOp::$ldv => stringify!($ldf),)*
                    $(LoadOp::$llv => stringify!($llf),)*
                }
            }

            /// Bytes read.
            pub const fn bytes(self) -> u32 {
                match self {
                    $(LoadOp::$ldv => $ldn,)*
                    $(LoadOp::$llv => $lln,)*
                }
            }

            pub const fn result(self) -> Ty {
                match self {
                    $(LoadOp::$ldv => <$ldr as Lanes>::TY,)*
                    $(LoadOp::$llv => <$llr as Lanes>::TY,)*
                }
            }

            pub const fn feature(self) -> Feature {
                match self {
                    $(LoadOp::$ldv => Feature::$ldfeat,)*
                    $(LoadOp::$llv => Feature::$llfeat,)*
                }
            }

            /// The number of lanes of a lane load's vector; `None` for other loads.
            pub const fn lanes(self) -> Option<u8> {
                match self {
                    $(LoadOp::$llv => Some($lll),)*
                    _ => None,
                }
            }
        }

        /// Stores: an address and a value in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum StoreOp {
            $($sv,)* $($slv,)*
        }

        impl StoreOp {
            pub const ALL: &'static [StoreOp] = &[$(StoreOp::$sv,)* $(StoreOp::$slv,)*];

            pub const fn constructor(self) -> &'static str {
                match self {
                    $(StoreOp::$sv => stringify!($sf),)*
                    $(StoreOp::$slv => stringify!($slf),)*
                }
            }

            /// Bytes written.
            pub const fn bytes(self) -> u32 {
                match self {
                    $(StoreOp::$sv => $sn,)*
                    $(StoreOp::$slv => $sln,)*
                }
            }

            pub const fn value(self) -> Ty {
                match self {
                    $(StoreOp::$sv => <$st as Lanes>::TY,)*
                    $(StoreOp::$slv => <$slt as Lanes>::TY,)*
                }
            }

            pub const fn feature(self) -> Feature {
                match self {
                    $(StoreOp::$sv => Feature::$sfeat,)*
                    $(StoreOp::$slv => Feature::$slfeat,)*
                }
            }

            /// The number of lanes of a lane store's vector; `None` for other stores.
            pub const fn lanes(self) -> Option<u8> {
                match self {
                    $(StoreOp::$slv => Some($sll),)*
                    _ => None,
                }
            }
        }
    };
}

for_each_instr!(define_instrs);

/// The wasm text name that belongs to a constructor: `i32x4_add` is `i32x4.add`.
fn text_name(constructor: &str) -> String {
    constructor.replacen('_', ".", 1)
}

impl std::fmt::Display for Instr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text_name(self.constructor()))
    }
}

impl std::fmt::Display for LoadOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text_name(self.constructor()))
    }
}

impl std::fmt::Display for StoreOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text_name(self.constructor()))
    }
}
