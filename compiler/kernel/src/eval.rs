//! Reference semantics of single instructions: the table's last column as functions on bits. Not an interpreter of
//! kernels; that is `interp.rs`.

use crate::instr::{Imm, Instr, LoadOp, StoreOp};
use crate::lanes::*;
use crate::table::for_each_instr;

/// How an engine resolves what relaxed SIMD leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaxedSemantics {
    /// `relaxed_madd` rounds once (FMA) instead of twice.
    pub fused: bool,
    /// How `relaxed_dot` reads its second operand.
    pub dot: RelaxedDot,
    /// `relaxed_laneselect` looks at the top bit of each mask lane instead of every bit.
    pub laneselect_by_top_bit: bool,
}

/// How an engine reads the second operand of `relaxed_dot_i8x16_i7x16` where it exceeds seven bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelaxedDot {
    /// As u8, exact sums (x64 with VNNI).
    Unsigned,
    /// As i8, exact sums (ARM).
    Signed,
    /// As u8, sums of two products saturate to i16 (x64 without VNNI).
    Saturating,
}

impl Default for RelaxedSemantics {
    fn default() -> Self {
        RelaxedSemantics { fused: true, dot: RelaxedDot::Unsigned, laneselect_by_top_bit: false }
    }
}

impl RelaxedSemantics {
    /// `a[i]·b[i] + a[i+1]·b[i+1]` under these semantics.
    fn dot2(&self, a: &i8x16, b: &i8x16, i: usize) -> i32 {
        let product = |i: usize| {
            let b = match self.dot {
                RelaxedDot::Signed => i32::from(b[i]),
                RelaxedDot::Unsigned | RelaxedDot::Saturating => i32::from(b[i] as u8),
            };
            i32::from(a[i]) * b
        };
        let sum = product(i) + product(i + 1);
        match self.dot {
            RelaxedDot::Saturating => sum.clamp(i16::MIN.into(), i16::MAX.into()),
            RelaxedDot::Unsigned | RelaxedDot::Signed => sum,
        }
    }
}

/// The byte shuffle of two vectors: indices 0..16 take from `a`, 16..32 from `b`.
fn shuffle(a: u8x16, b: u8x16, lanes: [u8; 16]) -> u8x16 {
    lanes.map(|i| if i < 16 { a[usize::from(i)] } else { b[usize::from(i & 15)] })
}

macro_rules! define_eval {
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
        /// The value of an operator, or `None` if it traps. Operands are as the signature says (missing ones read as 0).
        pub fn eval_op(instr: Instr, imm: Imm, args: &[Bits; 3], r: &RelaxedSemantics) -> Option<Bits> {
            let lane = match imm {
                Imm::Lane(lane) => usize::from(lane),
                Imm::None | Imm::Shuffle(_) => 0,
            };
            let mut args = args.iter().copied();
            let mut next = || args.next().unwrap_or_default();
            Some(match instr {
                Instr::I8x16Shuffle => {
                    let (a, b) = (u8x16::from_bits(next()), u8x16::from_bits(next()));
                    let Imm::Shuffle(lanes) = imm else { return None };
                    shuffle(a, b, lanes).into_bits()
                }
                $(Instr::$ov => {
                    $(let $oa = <$ot as Lanes>::from_bits(next());)*
                    let result: $or = $ob;
                    result.into_bits()
                })*
                $(Instr::$tv => {
                    $(let $ta = <$tt as Lanes>::from_bits(next());)*
                    let result: Option<$tr> = $tb;
                    result?.into_bits()
                })*
                $(Instr::$lv => {
                    let $li = lane;
                    $(let $la = <$lt as Lanes>::from_bits(next());)*
                    let result: $lr = $lb;
                    result.into_bits()
                })*
                $(Instr::$rv => {
                    let $rr = r;
                    $(let $ra = <$rt as Lanes>::from_bits(next());)*
                    let result: $rres = $rb;
                    result.into_bits()
                })*
            })
        }

        /// The value loaded from `bytes`, which holds exactly [`LoadOp::bytes`] bytes; `vector` is a lane load's operand.
        pub fn eval_load(load: LoadOp, bytes: &[u8], lane: u8, vector: Bits) -> Bits {
            match load {
                $(LoadOp::$ldv => {
                    let [$ldb] = chunks::<$ldn, 1>(bytes);
                    let result: $ldr = $ldblock;
                    result.into_bits()
                })*
                $(LoadOp::$llv => {
                    let [$llb] = chunks::<$lln, 1>(bytes);
                    let $lli = usize::from(lane);
                    let $llvec = <$llt as Lanes>::from_bits(vector);
                    let result: $llr = $llblock;
                    result.into_bits()
                })*
            }
        }

        /// Writes what a store writes to `bytes`, which holds exactly [`StoreOp::bytes`] bytes.
        pub fn eval_store(store: StoreOp, value: Bits, lane: u8, bytes: &mut [u8]) {
            match store {
                $(StoreOp::$sv => {
                    let $sa = <$st as Lanes>::from_bits(value);
                    let result: [u8; $sn] = $sb;
                    bytes.copy_from_slice(&result);
                })*
                $(StoreOp::$slv => {
                    let $sli = usize::from(lane);
                    let $sla = <$slt as Lanes>::from_bits(value);
                    let result: [u8; $sln] = $slb;
                    bytes.copy_from_slice(&result);
                })*
            }
        }
    };
}

for_each_instr!(define_eval);
