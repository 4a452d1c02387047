//! The instruction table: one row per wasm instruction that a kernel may use, and nothing else.
//!
//! A row reads `constructor Encoding Feature (operands) -> result { reference semantics }`. Operand types are lane
//! types of [`crate::lanes`]; they give the wasm type, the builder's marker type and the signedness in which the
//! semantics are written. The wasm text name is the constructor with its first `_` read as `.`; `Encoding` is the
//! variant of the encoder's instruction enum. Expanded by `instr.rs` (enums, names, signatures, features), `eval.rs`
//! (semantics), `ops.rs` (typed constructors) and `emit.rs` (encoding).

/// Calls the macro `$expand` with the whole table.
macro_rules! for_each_instr {
    ($expand:ident) => {
        $expand! {
            ops {
                // i32
                i32_add I32Add Mvp (a: i32, b: i32) -> i32 { a.wrapping_add(b) }
                i32_sub I32Sub Mvp (a: i32, b: i32) -> i32 { a.wrapping_sub(b) }
                i32_mul I32Mul Mvp (a: i32, b: i32) -> i32 { a.wrapping_mul(b) }
                i32_and I32And Mvp (a: i32, b: i32) -> i32 { a & b }
                i32_or I32Or Mvp (a: i32, b: i32) -> i32 { a | b }
                i32_xor I32Xor Mvp (a: i32, b: i32) -> i32 { a ^ b }
                i32_shl I32Shl Mvp (a: u32, b: u32) -> u32 { a.wrapping_shl(b as u32) }
                i32_shr_s I32ShrS Mvp (a: i32, b: i32) -> i32 { a.wrapping_shr(b as u32) }
                i32_shr_u I32ShrU Mvp (a: u32, b: u32) -> u32 { a.wrapping_shr(b as u32) }
                i32_rotl I32Rotl Mvp (a: u32, b: u32) -> u32 { a.rotate_left((b % 32) as u32) }
                i32_rotr I32Rotr Mvp (a: u32, b: u32) -> u32 { a.rotate_right((b % 32) as u32) }
                i32_clz I32Clz Mvp (a: u32) -> u32 { a.leading_zeros() as u32 }
                i32_ctz I32Ctz Mvp (a: u32) -> u32 { a.trailing_zeros() as u32 }
                i32_popcnt I32Popcnt Mvp (a: u32) -> u32 { a.count_ones() as u32 }
                i32_extend8_s I32Extend8S Mvp (a: i32) -> i32 { a as i8 as i32 }
                i32_extend16_s I32Extend16S Mvp (a: i32) -> i32 { a as i16 as i32 }
                i32_eqz I32Eqz Mvp (a: i32) -> i32 { i32::from(a == 0) }
                i32_eq I32Eq Mvp (a: i32, b: i32) -> i32 { i32::from(a == b) }
                i32_ne I32Ne Mvp (a: i32, b: i32) -> i32 { i32::from(a != b) }
                i32_lt_s I32LtS Mvp (a: i32, b: i32) -> i32 { i32::from(a < b) }
                i32_lt_u I32LtU Mvp (a: u32, b: u32) -> i32 { i32::from(a < b) }
                i32_gt_s I32GtS Mvp (a: i32, b: i32) -> i32 { i32::from(a > b) }
                i32_gt_u I32GtU Mvp (a: u32, b: u32) -> i32 { i32::from(a > b) }
                i32_le_s I32LeS Mvp (a: i32, b: i32) -> i32 { i32::from(a <= b) }
                i32_le_u I32LeU Mvp (a: u32, b: u32) -> i32 { i32::from(a <= b) }
                i32_ge_s I32GeS Mvp (a: i32, b: i32) -> i32 { i32::from(a >= b) }
                i32_ge_u I32GeU Mvp (a: u32, b: u32) -> i32 { i32::from(a >= b) }
                // i64
                i64_add I64Add Mvp (a: i64, b: i64) -> i64 { a.wrapping_add(b) }
                i64_sub I64Sub Mvp (a: i64, b: i64) -> i64 { a.wrapping_sub(b) }
                i64_mul I64Mul Mvp (a: i64, b: i64) -> i64 { a.wrapping_mul(b) }
                i64_and I64And Mvp (a: i64, b: i64) -> i64 { a & b }
                i64_or I64Or Mvp (a: i64, b: i64) -> i64 { a | b }
                i64_xor I64Xor Mvp (a: i64, b: i64) -> i64 { a ^ b }
                i64_shl I64Shl Mvp (a: u64, b: u64) -> u64 { a.wrapping_shl(b as u32) }
                i64_shr_s I64ShrS Mvp (a: i64, b: i64) -> i64 { a.wrapping_shr(b as u32) }
                i64_shr_u I64ShrU Mvp (a: u64, b: u64) -> u64 { a.wrapping_shr(b as u32) }
                i64_rotl I64Rotl Mvp (a: u64, b: u64) -> u64 { a.rotate_left((b % 64) as u32) }
                i64_rotr I64Rotr Mvp (a: u64, b: u64) -> u64 { a.rotate_right((b % 64) as u32) }
                i64_clz I64Clz Mvp (a: u64) -> u64 { a.leading_zeros() as u64 }
                i64_ctz I64Ctz Mvp (a: u64) -> u64 { a.trailing_zeros() as u64 }
                i64_popcnt I64Popcnt Mvp (a: u64) -> u64 { a.count_ones() as u64 }
                i64_extend8_s I64Extend8S Mvp (a: i64) -> i64 { a as i8 as i64 }
                i64_extend16_s I64Extend16S Mvp (a: i64) -> i64 { a as i16 as i64 }
                i64_extend32_s I64Extend32S Mvp (a: i64) -> i64 { a as i32 as i64 }
                i64_eqz I64Eqz Mvp (a: i64) -> i32 { i32::from(a == 0) }
                i64_eq I64Eq Mvp (a: i64, b: i64) -> i32 { i32::from(a == b) }
                i64_ne I64Ne Mvp (a: i64, b: i64) -> i32 { i32::from(a != b) }
                i64_lt_s I64LtS Mvp (a: i64, b: i64) -> i32 { i32::from(a < b) }
                i64_lt_u I64LtU Mvp (a: u64, b: u64) -> i32 { i32::from(a < b) }
                i64_gt_s I64GtS Mvp (a: i64, b: i64) -> i32 { i32::from(a > b) }
                i64_gt_u I64GtU Mvp (a: u64, b: u64) -> i32 { i32::from(a > b) }
                i64_le_s I64LeS Mvp (a: i64, b: i64) -> i32 { i32::from(a <= b) }
                i64_le_u I64LeU Mvp (a: u64, b: u64) -> i32 { i32::from(a <= b) }
                i64_ge_s I64GeS Mvp (a: i64, b: i64) -> i32 { i32::from(a >= b) }
                i64_ge_u I64GeU Mvp (a: u64, b: u64) -> i32 { i32::from(a >= b) }
                // f32
                f32_add F32Add Mvp (a: f32, b: f32) -> f32 { a + b }
                f32_sub F32Sub Mvp (a: f32, b: f32) -> f32 { a - b }
                f32_mul F32Mul Mvp (a: f32, b: f32) -> f32 { a * b }
                f32_div F32Div Mvp (a: f32, b: f32) -> f32 { a / b }
                f32_min F32Min Mvp (a: f32, b: f32) -> f32 { a.wasm_min(b) }
                f32_max F32Max Mvp (a: f32, b: f32) -> f32 { a.wasm_max(b) }
                f32_copysign F32Copysign Mvp (a: f32, b: f32) -> f32 { a.copysign(b) }
                f32_abs F32Abs Mvp (a: f32) -> f32 { a.abs() }
                f32_neg F32Neg Mvp (a: f32) -> f32 { -a }
                f32_sqrt F32Sqrt Mvp (a: f32) -> f32 { a.sqrt() }
                f32_ceil F32Ceil Mvp (a: f32) -> f32 { a.ceil() }
                f32_floor F32Floor Mvp (a: f32) -> f32 { a.floor() }
                f32_trunc F32Trunc Mvp (a: f32) -> f32 { a.trunc() }
                f32_nearest F32Nearest Mvp (a: f32) -> f32 { a.round_ties_even() }
                f32_eq F32Eq Mvp (a: f32, b: f32) -> i32 { i32::from(a == b) }
                f32_ne F32Ne Mvp (a: f32, b: f32) -> i32 { i32::from(a != b) }
                f32_lt F32Lt Mvp (a: f32, b: f32) -> i32 { i32::from(a < b) }
                f32_gt F32Gt Mvp (a: f32, b: f32) -> i32 { i32::from(a > b) }
                f32_le F32Le Mvp (a: f32, b: f32) -> i32 { i32::from(a <= b) }
                f32_ge F32Ge Mvp (a: f32, b: f32) -> i32 { i32::from(a >= b) }
                // f64
                f64_add F64Add Mvp (a: f64, b: f64) -> f64 { a + b }
                f64_sub F64Sub Mvp (a: f64, b: f64) -> f64 { a - b }
                f64_mul F64Mul Mvp (a: f64, b: f64) -> f64 { a * b }
                f64_div F64Div Mvp (a: f64, b: f64) -> f64 { a / b }
                f64_min F64Min Mvp (a: f64, b: f64) -> f64 { a.wasm_min(b) }
                f64_max F64Max Mvp (a: f64, b: f64) -> f64 { a.wasm_max(b) }
                f64_copysign F64Copysign Mvp (a: f64, b: f64) -> f64 { a.copysign(b) }
                f64_abs F64Abs Mvp (a: f64) -> f64 { a.abs() }
                f64_neg F64Neg Mvp (a: f64) -> f64 { -a }
                f64_sqrt F64Sqrt Mvp (a: f64) -> f64 { a.sqrt() }
                f64_ceil F64Ceil Mvp (a: f64) -> f64 { a.ceil() }
                f64_floor F64Floor Mvp (a: f64) -> f64 { a.floor() }
                f64_trunc F64Trunc Mvp (a: f64) -> f64 { a.trunc() }
                f64_nearest F64Nearest Mvp (a: f64) -> f64 { a.round_ties_even() }
                f64_eq F64Eq Mvp (a: f64, b: f64) -> i32 { i32::from(a == b) }
                f64_ne F64Ne Mvp (a: f64, b: f64) -> i32 { i32::from(a != b) }
                f64_lt F64Lt Mvp (a: f64, b: f64) -> i32 { i32::from(a < b) }
                f64_gt F64Gt Mvp (a: f64, b: f64) -> i32 { i32::from(a > b) }
                f64_le F64Le Mvp (a: f64, b: f64) -> i32 { i32::from(a <= b) }
                f64_ge F64Ge Mvp (a: f64, b: f64) -> i32 { i32::from(a >= b) }
                // scalar conversions
                i32_wrap_i64 I32WrapI64 Mvp (a: i64) -> i32 { a as i32 }
                i64_extend_i32_s I64ExtendI32S Mvp (a: i32) -> i64 { i64::from(a) }
                i64_extend_i32_u I64ExtendI32U Mvp (a: u32) -> u64 { u64::from(a) }
                i32_trunc_sat_f32_s I32TruncSatF32S Mvp (a: f32) -> i32 { a as i32 }
                i32_trunc_sat_f32_u I32TruncSatF32U Mvp (a: f32) -> u32 { a as u32 }
                f32_convert_i32_s F32ConvertI32S Mvp (a: i32) -> f32 { a as f32 }
                f32_convert_i32_u F32ConvertI32U Mvp (a: u32) -> f32 { a as f32 }
                i32_trunc_sat_f64_s I32TruncSatF64S Mvp (a: f64) -> i32 { a as i32 }
                i32_trunc_sat_f64_u I32TruncSatF64U Mvp (a: f64) -> u32 { a as u32 }
                f64_convert_i32_s F64ConvertI32S Mvp (a: i32) -> f64 { a as f64 }
                f64_convert_i32_u F64ConvertI32U Mvp (a: u32) -> f64 { a as f64 }
                i64_trunc_sat_f32_s I64TruncSatF32S Mvp (a: f32) -> i64 { a as i64 }
                i64_trunc_sat_f32_u I64TruncSatF32U Mvp (a: f32) -> u64 { a as u64 }
                f32_convert_i64_s F32ConvertI64S Mvp (a: i64) -> f32 { a as f32 }
                f32_convert_i64_u F32ConvertI64U Mvp (a: u64) -> f32 { a as f32 }
                i64_trunc_sat_f64_s I64TruncSatF64S Mvp (a: f64) -> i64 { a as i64 }
                i64_trunc_sat_f64_u I64TruncSatF64U Mvp (a: f64) -> u64 { a as u64 }
                f64_convert_i64_s F64ConvertI64S Mvp (a: i64) -> f64 { a as f64 }
                f64_convert_i64_u F64ConvertI64U Mvp (a: u64) -> f64 { a as f64 }
                f32_demote_f64 F32DemoteF64 Mvp (a: f64) -> f32 { a as f32 }
                f64_promote_f32 F64PromoteF32 Mvp (a: f32) -> f64 { f64::from(a) }
                i32_reinterpret_f32 I32ReinterpretF32 Mvp (a: f32) -> u32 { a.to_bits() }
                f32_reinterpret_i32 F32ReinterpretI32 Mvp (a: u32) -> f32 { f32::from_bits(a) }
                i64_reinterpret_f64 I64ReinterpretF64 Mvp (a: f64) -> u64 { a.to_bits() }
                f64_reinterpret_i64 F64ReinterpretI64 Mvp (a: u64) -> f64 { f64::from_bits(a) }
                // v128
                v128_not V128Not Simd128 (a: u128) -> u128 { !a }
                v128_and V128And Simd128 (a: u128, b: u128) -> u128 { a & b }
                v128_andnot V128AndNot Simd128 (a: u128, b: u128) -> u128 { a & !b }
                v128_or V128Or Simd128 (a: u128, b: u128) -> u128 { a | b }
                v128_xor V128Xor Simd128 (a: u128, b: u128) -> u128 { a ^ b }
                v128_bitselect V128Bitselect Simd128 (a: u128, b: u128, mask: u128) -> u128 { (a & mask) | (b & !mask) }
                v128_any_true V128AnyTrue Simd128 (a: u128) -> i32 { i32::from(a != 0) }
                // i8x16
                i8x16_splat I8x16Splat Simd128 (a: i32) -> i8x16 { [a as i8; 16] }
                i8x16_add I8x16Add Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::wrapping_add) }
                i8x16_sub I8x16Sub Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::wrapping_sub) }
                i8x16_neg I8x16Neg Simd128 (a: i8x16) -> i8x16 { a.map(i8::wrapping_neg) }
                i8x16_abs I8x16Abs Simd128 (a: i8x16) -> i8x16 { a.map(i8::wrapping_abs) }
                i8x16_add_sat_s I8x16AddSatS Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::saturating_add) }
                i8x16_add_sat_u I8x16AddSatU Simd128 (a: u8x16, b: u8x16) -> u8x16 { zip(a, b, u8::saturating_add) }
                i8x16_sub_sat_s I8x16SubSatS Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::saturating_sub) }
                i8x16_sub_sat_u I8x16SubSatU Simd128 (a: u8x16, b: u8x16) -> u8x16 { zip(a, b, u8::saturating_sub) }
                i8x16_avgr_u I8x16AvgrU Simd128 (a: u8x16, b: u8x16) -> u8x16 { zip(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u8) }
                i8x16_min_s I8x16MinS Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::min) }
                i8x16_min_u I8x16MinU Simd128 (a: u8x16, b: u8x16) -> u8x16 { zip(a, b, u8::min) }
                i8x16_max_s I8x16MaxS Simd128 (a: i8x16, b: i8x16) -> i8x16 { zip(a, b, i8::max) }
                i8x16_max_u I8x16MaxU Simd128 (a: u8x16, b: u8x16) -> u8x16 { zip(a, b, u8::max) }
                i8x16_shl I8x16Shl Simd128 (a: i8x16, s: u32) -> i8x16 { a.map(|x| x << (s % 8)) }
                i8x16_shr_s I8x16ShrS Simd128 (a: i8x16, s: u32) -> i8x16 { a.map(|x| x >> (s % 8)) }
                i8x16_shr_u I8x16ShrU Simd128 (a: u8x16, s: u32) -> u8x16 { a.map(|x| x >> (s % 8)) }
                i8x16_eq I8x16Eq Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x == y) }
                i8x16_ne I8x16Ne Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x != y) }
                i8x16_lt_s I8x16LtS Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x < y) }
                i8x16_lt_u I8x16LtU Simd128 (a: u8x16, b: u8x16) -> i8x16 { compare(a, b, |x, y| x < y) }
                i8x16_gt_s I8x16GtS Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x > y) }
                i8x16_gt_u I8x16GtU Simd128 (a: u8x16, b: u8x16) -> i8x16 { compare(a, b, |x, y| x > y) }
                i8x16_le_s I8x16LeS Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x <= y) }
                i8x16_le_u I8x16LeU Simd128 (a: u8x16, b: u8x16) -> i8x16 { compare(a, b, |x, y| x <= y) }
                i8x16_ge_s I8x16GeS Simd128 (a: i8x16, b: i8x16) -> i8x16 { compare(a, b, |x, y| x >= y) }
                i8x16_ge_u I8x16GeU Simd128 (a: u8x16, b: u8x16) -> i8x16 { compare(a, b, |x, y| x >= y) }
                i8x16_all_true I8x16AllTrue Simd128 (a: i8x16) -> i32 { i32::from(a.iter().all(|&x| x != 0)) }
                i8x16_bitmask I8x16Bitmask Simd128 (a: i8x16) -> u32 { (0..a.len()).fold(0, |m, i| m | (u32::from(a[i] < 0) << i)) }
                i8x16_narrow_i16x8_s I8x16NarrowI16x8S Simd128 (a: i16x8, b: i16x8) -> i8x16 { concat(a, b).map(|x| x.clamp(i8::MIN.into(), i8::MAX.into()) as i8) }
                i8x16_narrow_i16x8_u I8x16NarrowI16x8U Simd128 (a: i16x8, b: i16x8) -> u8x16 { concat(a, b).map(|x| x.clamp(0, u8::MAX.into()) as u8) }
                i8x16_popcnt I8x16Popcnt Simd128 (a: u8x16) -> u8x16 { a.map(|x| x.count_ones() as u8) }
                i8x16_swizzle I8x16Swizzle Simd128 (a: u8x16, b: u8x16) -> u8x16 { b.map(|i| a.get(usize::from(i)).copied().unwrap_or(0)) }
                // i16x8
                i16x8_splat I16x8Splat Simd128 (a: i32) -> i16x8 { [a as i16; 8] }
                i16x8_add I16x8Add Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::wrapping_add) }
                i16x8_sub I16x8Sub Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::wrapping_sub) }
                i16x8_mul I16x8Mul Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::wrapping_mul) }
                i16x8_neg I16x8Neg Simd128 (a: i16x8) -> i16x8 { a.map(i16::wrapping_neg) }
                i16x8_abs I16x8Abs Simd128 (a: i16x8) -> i16x8 { a.map(i16::wrapping_abs) }
                i16x8_add_sat_s I16x8AddSatS Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::saturating_add) }
                i16x8_add_sat_u I16x8AddSatU Simd128 (a: u16x8, b: u16x8) -> u16x8 { zip(a, b, u16::saturating_add) }
                i16x8_sub_sat_s I16x8SubSatS Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::saturating_sub) }
                i16x8_sub_sat_u I16x8SubSatU Simd128 (a: u16x8, b: u16x8) -> u16x8 { zip(a, b, u16::saturating_sub) }
                i16x8_avgr_u I16x8AvgrU Simd128 (a: u16x8, b: u16x8) -> u16x8 { zip(a, b, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16) }
                i16x8_min_s I16x8MinS Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::min) }
                i16x8_min_u I16x8MinU Simd128 (a: u16x8, b: u16x8) -> u16x8 { zip(a, b, u16::min) }
                i16x8_max_s I16x8MaxS Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, i16::max) }
                i16x8_max_u I16x8MaxU Simd128 (a: u16x8, b: u16x8) -> u16x8 { zip(a, b, u16::max) }
                i16x8_shl I16x8Shl Simd128 (a: i16x8, s: u32) -> i16x8 { a.map(|x| x << (s % 16)) }
                i16x8_shr_s I16x8ShrS Simd128 (a: i16x8, s: u32) -> i16x8 { a.map(|x| x >> (s % 16)) }
                i16x8_shr_u I16x8ShrU Simd128 (a: u16x8, s: u32) -> u16x8 { a.map(|x| x >> (s % 16)) }
                i16x8_eq I16x8Eq Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x == y) }
                i16x8_ne I16x8Ne Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x != y) }
                i16x8_lt_s I16x8LtS Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x < y) }
                i16x8_lt_u I16x8LtU Simd128 (a: u16x8, b: u16x8) -> i16x8 { compare(a, b, |x, y| x < y) }
                i16x8_gt_s I16x8GtS Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x > y) }
                i16x8_gt_u I16x8GtU Simd128 (a: u16x8, b: u16x8) -> i16x8 { compare(a, b, |x, y| x > y) }
                i16x8_le_s I16x8LeS Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x <= y) }
                i16x8_le_u I16x8LeU Simd128 (a: u16x8, b: u16x8) -> i16x8 { compare(a, b, |x, y| x <= y) }
                i16x8_ge_s I16x8GeS Simd128 (a: i16x8, b: i16x8) -> i16x8 { compare(a, b, |x, y| x >= y) }
                i16x8_ge_u I16x8GeU Simd128 (a: u16x8, b: u16x8) -> i16x8 { compare(a, b, |x, y| x >= y) }
                i16x8_all_true I16x8AllTrue Simd128 (a: i16x8) -> i32 { i32::from(a.iter().all(|&x| x != 0)) }
                i16x8_bitmask I16x8Bitmask Simd128 (a: i16x8) -> u32 { (0..a.len()).fold(0, |m, i| m | (u32::from(a[i] < 0) << i)) }
                i16x8_extend_low_i8x16_s I16x8ExtendLowI8x16S Simd128 (a: i8x16) -> i16x8 { std::array::from_fn(|i| i16::from(a[i + 0])) }
                i16x8_extend_low_i8x16_u I16x8ExtendLowI8x16U Simd128 (a: u8x16) -> u16x8 { std::array::from_fn(|i| u16::from(a[i + 0])) }
                i16x8_extmul_low_i8x16_s I16x8ExtMulLowI8x16S Simd128 (a: i8x16, b: i8x16) -> i16x8 { std::array::from_fn(|i| i16::from(a[i + 0]) * i16::from(b[i + 0])) }
                i16x8_extmul_low_i8x16_u I16x8ExtMulLowI8x16U Simd128 (a: u8x16, b: u8x16) -> u16x8 { std::array::from_fn(|i| u16::from(a[i + 0]) * u16::from(b[i + 0])) }
                i16x8_extend_high_i8x16_s I16x8ExtendHighI8x16S Simd128 (a: i8x16) -> i16x8 { std::array::from_fn(|i| i16::from(a[i + 8])) }
                i16x8_extend_high_i8x16_u I16x8ExtendHighI8x16U Simd128 (a: u8x16) -> u16x8 { std::array::from_fn(|i| u16::from(a[i + 8])) }
                i16x8_extmul_high_i8x16_s I16x8ExtMulHighI8x16S Simd128 (a: i8x16, b: i8x16) -> i16x8 { std::array::from_fn(|i| i16::from(a[i + 8]) * i16::from(b[i + 8])) }
                i16x8_extmul_high_i8x16_u I16x8ExtMulHighI8x16U Simd128 (a: u8x16, b: u8x16) -> u16x8 { std::array::from_fn(|i| u16::from(a[i + 8]) * u16::from(b[i + 8])) }
                i16x8_extadd_pairwise_i8x16_s I16x8ExtAddPairwiseI8x16S Simd128 (a: i8x16) -> i16x8 { std::array::from_fn(|i| i16::from(a[2 * i]) + i16::from(a[2 * i + 1])) }
                i16x8_extadd_pairwise_i8x16_u I16x8ExtAddPairwiseI8x16U Simd128 (a: u8x16) -> u16x8 { std::array::from_fn(|i| u16::from(a[2 * i]) + u16::from(a[2 * i + 1])) }
                i16x8_narrow_i32x4_s I16x8NarrowI32x4S Simd128 (a: i32x4, b: i32x4) -> i16x8 { concat(a, b).map(|x| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16) }
                i16x8_narrow_i32x4_u I16x8NarrowI32x4U Simd128 (a: i32x4, b: i32x4) -> u16x8 { concat(a, b).map(|x| x.clamp(0, u16::MAX.into()) as u16) }
                i16x8_q15mulr_sat_s I16x8Q15MulrSatS Simd128 (a: i16x8, b: i16x8) -> i16x8 { zip(a, b, |x, y| ((i32::from(x) * i32::from(y) + 0x4000) >> 15).min(32767) as i16) }
                // i32x4
                i32x4_splat I32x4Splat Simd128 (a: i32) -> i32x4 { [a as i32; 4] }
                i32x4_add I32x4Add Simd128 (a: i32x4, b: i32x4) -> i32x4 { zip(a, b, i32::wrapping_add) }
                i32x4_sub I32x4Sub Simd128 (a: i32x4, b: i32x4) -> i32x4 { zip(a, b, i32::wrapping_sub) }
                i32x4_mul I32x4Mul Simd128 (a: i32x4, b: i32x4) -> i32x4 { zip(a, b, i32::wrapping_mul) }
                i32x4_neg I32x4Neg Simd128 (a: i32x4) -> i32x4 { a.map(i32::wrapping_neg) }
                i32x4_abs I32x4Abs Simd128 (a: i32x4) -> i32x4 { a.map(i32::wrapping_abs) }
                i32x4_min_s I32x4MinS Simd128 (a: i32x4, b: i32x4) -> i32x4 { zip(a, b, i32::min) }
                i32x4_min_u I32x4MinU Simd128 (a: u32x4, b: u32x4) -> u32x4 { zip(a, b, u32::min) }
                i32x4_max_s I32x4MaxS Simd128 (a: i32x4, b: i32x4) -> i32x4 { zip(a, b, i32::max) }
                i32x4_max_u I32x4MaxU Simd128 (a: u32x4, b: u32x4) -> u32x4 { zip(a, b, u32::max) }
                i32x4_shl I32x4Shl Simd128 (a: i32x4, s: u32) -> i32x4 { a.map(|x| x << (s % 32)) }
                i32x4_shr_s I32x4ShrS Simd128 (a: i32x4, s: u32) -> i32x4 { a.map(|x| x >> (s % 32)) }
                i32x4_shr_u I32x4ShrU Simd128 (a: u32x4, s: u32) -> u32x4 { a.map(|x| x >> (s % 32)) }
                i32x4_eq I32x4Eq Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x == y) }
                i32x4_ne I32x4Ne Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x != y) }
                i32x4_lt_s I32x4LtS Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x < y) }
                i32x4_lt_u I32x4LtU Simd128 (a: u32x4, b: u32x4) -> i32x4 { compare(a, b, |x, y| x < y) }
                i32x4_gt_s I32x4GtS Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x > y) }
                i32x4_gt_u I32x4GtU Simd128 (a: u32x4, b: u32x4) -> i32x4 { compare(a, b, |x, y| x > y) }
                i32x4_le_s I32x4LeS Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x <= y) }
                i32x4_le_u I32x4LeU Simd128 (a: u32x4, b: u32x4) -> i32x4 { compare(a, b, |x, y| x <= y) }
                i32x4_ge_s I32x4GeS Simd128 (a: i32x4, b: i32x4) -> i32x4 { compare(a, b, |x, y| x >= y) }
                i32x4_ge_u I32x4GeU Simd128 (a: u32x4, b: u32x4) -> i32x4 { compare(a, b, |x, y| x >= y) }
                i32x4_all_true I32x4AllTrue Simd128 (a: i32x4) -> i32 { i32::from(a.iter().all(|&x| x != 0)) }
                i32x4_bitmask I32x4Bitmask Simd128 (a: i32x4) -> u32 { (0..a.len()).fold(0, |m, i| m | (u32::from(a[i] < 0) << i)) }
                i32x4_extend_low_i16x8_s I32x4ExtendLowI16x8S Simd128 (a: i16x8) -> i32x4 { std::array::from_fn(|i| i32::from(a[i + 0])) }
                i32x4_extend_low_i16x8_u I32x4ExtendLowI16x8U Simd128 (a: u16x8) -> u32x4 { std::array::from_fn(|i| u32::from(a[i + 0])) }
                i32x4_extmul_low_i16x8_s I32x4ExtMulLowI16x8S Simd128 (a: i16x8, b: i16x8) -> i32x4 { std::array::from_fn(|i| i32::from(a[i + 0]) * i32::from(b[i + 0])) }
                i32x4_extmul_low_i16x8_u I32x4ExtMulLowI16x8U Simd128 (a: u16x8, b: u16x8) -> u32x4 { std::array::from_fn(|i| u32::from(a[i + 0]) * u32::from(b[i + 0])) }
                i32x4_extend_high_i16x8_s I32x4ExtendHighI16x8S Simd128 (a: i16x8) -> i32x4 { std::array::from_fn(|i| i32::from(a[i + 4])) }
                i32x4_extend_high_i16x8_u I32x4ExtendHighI16x8U Simd128 (a: u16x8) -> u32x4 { std::array::from_fn(|i| u32::from(a[i + 4])) }
                i32x4_extmul_high_i16x8_s I32x4ExtMulHighI16x8S Simd128 (a: i16x8, b: i16x8) -> i32x4 { std::array::from_fn(|i| i32::from(a[i + 4]) * i32::from(b[i + 4])) }
                i32x4_extmul_high_i16x8_u I32x4ExtMulHighI16x8U Simd128 (a: u16x8, b: u16x8) -> u32x4 { std::array::from_fn(|i| u32::from(a[i + 4]) * u32::from(b[i + 4])) }
                i32x4_extadd_pairwise_i16x8_s I32x4ExtAddPairwiseI16x8S Simd128 (a: i16x8) -> i32x4 { std::array::from_fn(|i| i32::from(a[2 * i]) + i32::from(a[2 * i + 1])) }
                i32x4_extadd_pairwise_i16x8_u I32x4ExtAddPairwiseI16x8U Simd128 (a: u16x8) -> u32x4 { std::array::from_fn(|i| u32::from(a[2 * i]) + u32::from(a[2 * i + 1])) }
                i32x4_dot_i16x8_s I32x4DotI16x8S Simd128 (a: i16x8, b: i16x8) -> i32x4 { std::array::from_fn(|i| { let p = |j: usize| i32::from(a[j]) * i32::from(b[j]); p(2 * i).wrapping_add(p(2 * i + 1)) }) }
                // i64x2
                i64x2_splat I64x2Splat Simd128 (a: i64) -> i64x2 { [a as i64; 2] }
                i64x2_add I64x2Add Simd128 (a: i64x2, b: i64x2) -> i64x2 { zip(a, b, i64::wrapping_add) }
                i64x2_sub I64x2Sub Simd128 (a: i64x2, b: i64x2) -> i64x2 { zip(a, b, i64::wrapping_sub) }
                i64x2_mul I64x2Mul Simd128 (a: i64x2, b: i64x2) -> i64x2 { zip(a, b, i64::wrapping_mul) }
                i64x2_neg I64x2Neg Simd128 (a: i64x2) -> i64x2 { a.map(i64::wrapping_neg) }
                i64x2_abs I64x2Abs Simd128 (a: i64x2) -> i64x2 { a.map(i64::wrapping_abs) }
                i64x2_shl I64x2Shl Simd128 (a: i64x2, s: u32) -> i64x2 { a.map(|x| x << (s % 64)) }
                i64x2_shr_s I64x2ShrS Simd128 (a: i64x2, s: u32) -> i64x2 { a.map(|x| x >> (s % 64)) }
                i64x2_shr_u I64x2ShrU Simd128 (a: u64x2, s: u32) -> u64x2 { a.map(|x| x >> (s % 64)) }
                i64x2_eq I64x2Eq Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x == y) }
                i64x2_ne I64x2Ne Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x != y) }
                i64x2_lt_s I64x2LtS Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x < y) }
                i64x2_gt_s I64x2GtS Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x > y) }
                i64x2_le_s I64x2LeS Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x <= y) }
                i64x2_ge_s I64x2GeS Simd128 (a: i64x2, b: i64x2) -> i64x2 { compare(a, b, |x, y| x >= y) }
                i64x2_all_true I64x2AllTrue Simd128 (a: i64x2) -> i32 { i32::from(a.iter().all(|&x| x != 0)) }
                i64x2_bitmask I64x2Bitmask Simd128 (a: i64x2) -> u32 { (0..a.len()).fold(0, |m, i| m | (u32::from(a[i] < 0) << i)) }
                i64x2_extend_low_i32x4_s I64x2ExtendLowI32x4S Simd128 (a: i32x4) -> i64x2 { std::array::from_fn(|i| i64::from(a[i + 0])) }
                i64x2_extend_low_i32x4_u I64x2ExtendLowI32x4U Simd128 (a: u32x4) -> u64x2 { std::array::from_fn(|i| u64::from(a[i + 0])) }
                i64x2_extmul_low_i32x4_s I64x2ExtMulLowI32x4S Simd128 (a: i32x4, b: i32x4) -> i64x2 { std::array::from_fn(|i| i64::from(a[i + 0]) * i64::from(b[i + 0])) }
                i64x2_extmul_low_i32x4_u I64x2ExtMulLowI32x4U Simd128 (a: u32x4, b: u32x4) -> u64x2 { std::array::from_fn(|i| u64::from(a[i + 0]) * u64::from(b[i + 0])) }
                i64x2_extend_high_i32x4_s I64x2ExtendHighI32x4S Simd128 (a: i32x4) -> i64x2 { std::array::from_fn(|i| i64::from(a[i + 2])) }
                i64x2_extend_high_i32x4_u I64x2ExtendHighI32x4U Simd128 (a: u32x4) -> u64x2 { std::array::from_fn(|i| u64::from(a[i + 2])) }
                i64x2_extmul_high_i32x4_s I64x2ExtMulHighI32x4S Simd128 (a: i32x4, b: i32x4) -> i64x2 { std::array::from_fn(|i| i64::from(a[i + 2]) * i64::from(b[i + 2])) }
                i64x2_extmul_high_i32x4_u I64x2ExtMulHighI32x4U Simd128 (a: u32x4, b: u32x4) -> u64x2 { std::array::from_fn(|i| u64::from(a[i + 2]) * u64::from(b[i + 2])) }
                // f32x4
                f32x4_splat F32x4Splat Simd128 (a: f32) -> f32x4 { [a; 4] }
                f32x4_add F32x4Add Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| x + y) }
                f32x4_sub F32x4Sub Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| x - y) }
                f32x4_mul F32x4Mul Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| x * y) }
                f32x4_div F32x4Div Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| x / y) }
                f32x4_min F32x4Min Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, WasmFloat::wasm_min) }
                f32x4_max F32x4Max Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, WasmFloat::wasm_max) }
                f32x4_pmin F32x4PMin Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| if y < x { y } else { x }) }
                f32x4_pmax F32x4PMax Simd128 (a: f32x4, b: f32x4) -> f32x4 { zip(a, b, |x, y| if x < y { y } else { x }) }
                f32x4_abs F32x4Abs Simd128 (a: f32x4) -> f32x4 { a.map(f32::abs) }
                f32x4_neg F32x4Neg Simd128 (a: f32x4) -> f32x4 { a.map(|x| -x) }
                f32x4_sqrt F32x4Sqrt Simd128 (a: f32x4) -> f32x4 { a.map(f32::sqrt) }
                f32x4_ceil F32x4Ceil Simd128 (a: f32x4) -> f32x4 { a.map(f32::ceil) }
                f32x4_floor F32x4Floor Simd128 (a: f32x4) -> f32x4 { a.map(f32::floor) }
                f32x4_trunc F32x4Trunc Simd128 (a: f32x4) -> f32x4 { a.map(f32::trunc) }
                f32x4_nearest F32x4Nearest Simd128 (a: f32x4) -> f32x4 { a.map(f32::round_ties_even) }
                f32x4_eq F32x4Eq Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x == y) }
                f32x4_ne F32x4Ne Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x != y) }
                f32x4_lt F32x4Lt Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x < y) }
                f32x4_gt F32x4Gt Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x > y) }
                f32x4_le F32x4Le Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x <= y) }
                f32x4_ge F32x4Ge Simd128 (a: f32x4, b: f32x4) -> i32x4 { compare(a, b, |x, y| x >= y) }
                // f64x2
                f64x2_splat F64x2Splat Simd128 (a: f64) -> f64x2 { [a; 2] }
                f64x2_add F64x2Add Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| x + y) }
                f64x2_sub F64x2Sub Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| x - y) }
                f64x2_mul F64x2Mul Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| x * y) }
                f64x2_div F64x2Div Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| x / y) }
                f64x2_min F64x2Min Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, WasmFloat::wasm_min) }
                f64x2_max F64x2Max Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, WasmFloat::wasm_max) }
                f64x2_pmin F64x2PMin Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| if y < x { y } else { x }) }
                f64x2_pmax F64x2PMax Simd128 (a: f64x2, b: f64x2) -> f64x2 { zip(a, b, |x, y| if x < y { y } else { x }) }
                f64x2_abs F64x2Abs Simd128 (a: f64x2) -> f64x2 { a.map(f64::abs) }
                f64x2_neg F64x2Neg Simd128 (a: f64x2) -> f64x2 { a.map(|x| -x) }
                f64x2_sqrt F64x2Sqrt Simd128 (a: f64x2) -> f64x2 { a.map(f64::sqrt) }
                f64x2_ceil F64x2Ceil Simd128 (a: f64x2) -> f64x2 { a.map(f64::ceil) }
                f64x2_floor F64x2Floor Simd128 (a: f64x2) -> f64x2 { a.map(f64::floor) }
                f64x2_trunc F64x2Trunc Simd128 (a: f64x2) -> f64x2 { a.map(f64::trunc) }
                f64x2_nearest F64x2Nearest Simd128 (a: f64x2) -> f64x2 { a.map(f64::round_ties_even) }
                f64x2_eq F64x2Eq Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x == y) }
                f64x2_ne F64x2Ne Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x != y) }
                f64x2_lt F64x2Lt Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x < y) }
                f64x2_gt F64x2Gt Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x > y) }
                f64x2_le F64x2Le Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x <= y) }
                f64x2_ge F64x2Ge Simd128 (a: f64x2, b: f64x2) -> i64x2 { compare(a, b, |x, y| x >= y) }
                // vector conversions
                i32x4_trunc_sat_f32x4_s I32x4TruncSatF32x4S Simd128 (a: f32x4) -> i32x4 { a.map(|x| x as i32) }
                i32x4_trunc_sat_f32x4_u I32x4TruncSatF32x4U Simd128 (a: f32x4) -> u32x4 { a.map(|x| x as u32) }
                i32x4_trunc_sat_f64x2_s_zero I32x4TruncSatF64x2SZero Simd128 (a: f64x2) -> i32x4 { [a[0] as i32, a[1] as i32, 0, 0] }
                i32x4_trunc_sat_f64x2_u_zero I32x4TruncSatF64x2UZero Simd128 (a: f64x2) -> u32x4 { [a[0] as u32, a[1] as u32, 0, 0] }
                f32x4_convert_i32x4_s F32x4ConvertI32x4S Simd128 (a: i32x4) -> f32x4 { a.map(|x| x as f32) }
                f32x4_convert_i32x4_u F32x4ConvertI32x4U Simd128 (a: u32x4) -> f32x4 { a.map(|x| x as f32) }
                f64x2_convert_low_i32x4_s F64x2ConvertLowI32x4S Simd128 (a: i32x4) -> f64x2 { [f64::from(a[0]), f64::from(a[1])] }
                f64x2_convert_low_i32x4_u F64x2ConvertLowI32x4U Simd128 (a: u32x4) -> f64x2 { [f64::from(a[0]), f64::from(a[1])] }
                f32x4_demote_f64x2_zero F32x4DemoteF64x2Zero Simd128 (a: f64x2) -> f32x4 { [a[0] as f32, a[1] as f32, 0.0, 0.0] }
                f64x2_promote_low_f32x4 F64x2PromoteLowF32x4 Simd128 (a: f32x4) -> f64x2 { [f64::from(a[0]), f64::from(a[1])] }
            }
            trapping_ops {
                i32_div_s I32DivS Mvp (a: i32, b: i32) -> i32 { a.checked_div(b) }
                i32_div_u I32DivU Mvp (a: u32, b: u32) -> u32 { a.checked_div(b) }
                i32_rem_s I32RemS Mvp (a: i32, b: i32) -> i32 { (b != 0).then(|| a.wrapping_rem(b)) }
                i32_rem_u I32RemU Mvp (a: u32, b: u32) -> u32 { a.checked_rem(b) }
                i64_div_s I64DivS Mvp (a: i64, b: i64) -> i64 { a.checked_div(b) }
                i64_div_u I64DivU Mvp (a: u64, b: u64) -> u64 { a.checked_div(b) }
                i64_rem_s I64RemS Mvp (a: i64, b: i64) -> i64 { (b != 0).then(|| a.wrapping_rem(b)) }
                i64_rem_u I64RemU Mvp (a: u64, b: u64) -> u64 { a.checked_rem(b) }
                i32_trunc_f32_s I32TruncF32S Mvp (a: f32) -> i32 { checked_trunc(f64::from(a)).and_then(|v| i32::try_from(v).ok()) }
                i32_trunc_f32_u I32TruncF32U Mvp (a: f32) -> u32 { checked_trunc(f64::from(a)).and_then(|v| u32::try_from(v).ok()) }
                i32_trunc_f64_s I32TruncF64S Mvp (a: f64) -> i32 { checked_trunc(f64::from(a)).and_then(|v| i32::try_from(v).ok()) }
                i32_trunc_f64_u I32TruncF64U Mvp (a: f64) -> u32 { checked_trunc(f64::from(a)).and_then(|v| u32::try_from(v).ok()) }
                i64_trunc_f32_s I64TruncF32S Mvp (a: f32) -> i64 { checked_trunc(f64::from(a)).and_then(|v| i64::try_from(v).ok()) }
                i64_trunc_f32_u I64TruncF32U Mvp (a: f32) -> u64 { checked_trunc(f64::from(a)).and_then(|v| u64::try_from(v).ok()) }
                i64_trunc_f64_s I64TruncF64S Mvp (a: f64) -> i64 { checked_trunc(f64::from(a)).and_then(|v| i64::try_from(v).ok()) }
                i64_trunc_f64_u I64TruncF64U Mvp (a: f64) -> u64 { checked_trunc(f64::from(a)).and_then(|v| u64::try_from(v).ok()) }
            }
            lane_ops {
                i8x16_extract_lane_s I8x16ExtractLaneS Simd128 [16] (lane; a: i8x16) -> i32 { i32::from(a[lane]) }
                i8x16_extract_lane_u I8x16ExtractLaneU Simd128 [16] (lane; a: u8x16) -> u32 { u32::from(a[lane]) }
                i8x16_replace_lane I8x16ReplaceLane Simd128 [16] (lane; a: i8x16, b: i32) -> i8x16 { with_lane(a, lane, b as i8) }
                i16x8_extract_lane_s I16x8ExtractLaneS Simd128 [8] (lane; a: i16x8) -> i32 { i32::from(a[lane]) }
                i16x8_extract_lane_u I16x8ExtractLaneU Simd128 [8] (lane; a: u16x8) -> u32 { u32::from(a[lane]) }
                i16x8_replace_lane I16x8ReplaceLane Simd128 [8] (lane; a: i16x8, b: i32) -> i16x8 { with_lane(a, lane, b as i16) }
                i32x4_extract_lane I32x4ExtractLane Simd128 [4] (lane; a: i32x4) -> i32 { a[lane] }
                i32x4_replace_lane I32x4ReplaceLane Simd128 [4] (lane; a: i32x4, b: i32) -> i32x4 { with_lane(a, lane, b as i32) }
                i64x2_extract_lane I64x2ExtractLane Simd128 [2] (lane; a: i64x2) -> i64 { a[lane] }
                i64x2_replace_lane I64x2ReplaceLane Simd128 [2] (lane; a: i64x2, b: i64) -> i64x2 { with_lane(a, lane, b as i64) }
                f32x4_extract_lane F32x4ExtractLane Simd128 [4] (lane; a: f32x4) -> f32 { a[lane] }
                f32x4_replace_lane F32x4ReplaceLane Simd128 [4] (lane; a: f32x4, b: f32) -> f32x4 { with_lane(a, lane, b) }
                f64x2_extract_lane F64x2ExtractLane Simd128 [2] (lane; a: f64x2) -> f64 { a[lane] }
                f64x2_replace_lane F64x2ReplaceLane Simd128 [2] (lane; a: f64x2, b: f64) -> f64x2 { with_lane(a, lane, b) }
            }
            relaxed_ops {
                f32x4_relaxed_madd F32x4RelaxedMadd RelaxedSimd (r; a: f32x4, b: f32x4, c: f32x4) -> f32x4 { zip3(a, b, c, |x, y, z| if r.fused { x.mul_add(y, z) } else { x * y + z }) }
                f32x4_relaxed_nmadd F32x4RelaxedNmadd RelaxedSimd (r; a: f32x4, b: f32x4, c: f32x4) -> f32x4 { zip3(a, b, c, |x, y, z| if r.fused { (-x).mul_add(y, z) } else { -x * y + z }) }
                f64x2_relaxed_madd F64x2RelaxedMadd RelaxedSimd (r; a: f64x2, b: f64x2, c: f64x2) -> f64x2 { zip3(a, b, c, |x, y, z| if r.fused { x.mul_add(y, z) } else { x * y + z }) }
                f64x2_relaxed_nmadd F64x2RelaxedNmadd RelaxedSimd (r; a: f64x2, b: f64x2, c: f64x2) -> f64x2 { zip3(a, b, c, |x, y, z| if r.fused { (-x).mul_add(y, z) } else { -x * y + z }) }
                i8x16_relaxed_laneselect I8x16RelaxedLaneselect RelaxedSimd (r; a: u8x16, b: u8x16, mask: u8x16) -> u8x16 { zip3(a, b, mask, |x, y, m| if r.laneselect_by_top_bit { if m >> 7 == 1 { x } else { y } } else { (x & m) | (y & !m) }) }
                i16x8_relaxed_laneselect I16x8RelaxedLaneselect RelaxedSimd (r; a: u16x8, b: u16x8, mask: u16x8) -> u16x8 { zip3(a, b, mask, |x, y, m| if r.laneselect_by_top_bit { if m >> 15 == 1 { x } else { y } } else { (x & m) | (y & !m) }) }
                i32x4_relaxed_laneselect I32x4RelaxedLaneselect RelaxedSimd (r; a: u32x4, b: u32x4, mask: u32x4) -> u32x4 { zip3(a, b, mask, |x, y, m| if r.laneselect_by_top_bit { if m >> 31 == 1 { x } else { y } } else { (x & m) | (y & !m) }) }
                i64x2_relaxed_laneselect I64x2RelaxedLaneselect RelaxedSimd (r; a: u64x2, b: u64x2, mask: u64x2) -> u64x2 { zip3(a, b, mask, |x, y, m| if r.laneselect_by_top_bit { if m >> 63 == 1 { x } else { y } } else { (x & m) | (y & !m) }) }
                i16x8_relaxed_dot_i8x16_i7x16_s I16x8RelaxedDotI8x16I7x16S RelaxedSimd (r; a: i8x16, b: i8x16) -> i16x8 { std::array::from_fn(|i| r.dot2(&a, &b, 2 * i) as i16) }
                i32x4_relaxed_dot_i8x16_i7x16_add_s I32x4RelaxedDotI8x16I7x16AddS RelaxedSimd (r; a: i8x16, b: i8x16, c: i32x4) -> i32x4 { std::array::from_fn(|i| c[i].wrapping_add(r.dot2(&a, &b, 4 * i) + r.dot2(&a, &b, 4 * i + 2))) }
            }
            loads {
                i32_load I32Load Mvp (b: [u8; 4]) -> i32 { i32::from_le_bytes(b) }
                i64_load I64Load Mvp (b: [u8; 8]) -> i64 { i64::from_le_bytes(b) }
                f32_load F32Load Mvp (b: [u8; 4]) -> f32 { f32::from_le_bytes(b) }
                f64_load F64Load Mvp (b: [u8; 8]) -> f64 { f64::from_le_bytes(b) }
                i32_load8_s I32Load8S Mvp (b: [u8; 1]) -> i32 { i8::from_le_bytes(b).into() }
                i32_load8_u I32Load8U Mvp (b: [u8; 1]) -> u32 { u8::from_le_bytes(b).into() }
                i32_load16_s I32Load16S Mvp (b: [u8; 2]) -> i32 { i16::from_le_bytes(b).into() }
                i32_load16_u I32Load16U Mvp (b: [u8; 2]) -> u32 { u16::from_le_bytes(b).into() }
                i64_load8_s I64Load8S Mvp (b: [u8; 1]) -> i64 { i8::from_le_bytes(b).into() }
                i64_load8_u I64Load8U Mvp (b: [u8; 1]) -> u64 { u8::from_le_bytes(b).into() }
                i64_load16_s I64Load16S Mvp (b: [u8; 2]) -> i64 { i16::from_le_bytes(b).into() }
                i64_load16_u I64Load16U Mvp (b: [u8; 2]) -> u64 { u16::from_le_bytes(b).into() }
                i64_load32_s I64Load32S Mvp (b: [u8; 4]) -> i64 { i32::from_le_bytes(b).into() }
                i64_load32_u I64Load32U Mvp (b: [u8; 4]) -> u64 { u32::from_le_bytes(b).into() }
                v128_load V128Load Simd128 (b: [u8; 16]) -> u128 { u128::from_le_bytes(b) }
                v128_load8_splat V128Load8Splat Simd128 (b: [u8; 1]) -> u8x16 { [u8::from_le_bytes(b); 16] }
                v128_load16_splat V128Load16Splat Simd128 (b: [u8; 2]) -> u16x8 { [u16::from_le_bytes(b); 8] }
                v128_load32_splat V128Load32Splat Simd128 (b: [u8; 4]) -> u32x4 { [u32::from_le_bytes(b); 4] }
                v128_load64_splat V128Load64Splat Simd128 (b: [u8; 8]) -> u64x2 { [u64::from_le_bytes(b); 2] }
                v128_load32_zero V128Load32Zero Simd128 (b: [u8; 4]) -> u128 { u128::from(u32::from_le_bytes(b)) }
                v128_load64_zero V128Load64Zero Simd128 (b: [u8; 8]) -> u128 { u128::from(u64::from_le_bytes(b)) }
                v128_load8x8_s V128Load8x8S Simd128 (b: [u8; 8]) -> i16x8 { chunks::<_, 8>(b).map(|c| i8::from_le_bytes(c).into()) }
                v128_load8x8_u V128Load8x8U Simd128 (b: [u8; 8]) -> u16x8 { chunks::<_, 8>(b).map(|c| u8::from_le_bytes(c).into()) }
                v128_load16x4_s V128Load16x4S Simd128 (b: [u8; 8]) -> i32x4 { chunks::<_, 4>(b).map(|c| i16::from_le_bytes(c).into()) }
                v128_load16x4_u V128Load16x4U Simd128 (b: [u8; 8]) -> u32x4 { chunks::<_, 4>(b).map(|c| u16::from_le_bytes(c).into()) }
                v128_load32x2_s V128Load32x2S Simd128 (b: [u8; 8]) -> i64x2 { chunks::<_, 2>(b).map(|c| i32::from_le_bytes(c).into()) }
                v128_load32x2_u V128Load32x2U Simd128 (b: [u8; 8]) -> u64x2 { chunks::<_, 2>(b).map(|c| u32::from_le_bytes(c).into()) }
            }
            lane_loads {
                v128_load8_lane V128Load8Lane Simd128 [16] (lane, b: [u8; 1]; v: u8x16) -> u8x16 { with_lane(v, lane, u8::from_le_bytes(b)) }
                v128_load16_lane V128Load16Lane Simd128 [8] (lane, b: [u8; 2]; v: u16x8) -> u16x8 { with_lane(v, lane, u16::from_le_bytes(b)) }
                v128_load32_lane V128Load32Lane Simd128 [4] (lane, b: [u8; 4]; v: u32x4) -> u32x4 { with_lane(v, lane, u32::from_le_bytes(b)) }
                v128_load64_lane V128Load64Lane Simd128 [2] (lane, b: [u8; 8]; v: u64x2) -> u64x2 { with_lane(v, lane, u64::from_le_bytes(b)) }
            }
            stores {
                i32_store I32Store Mvp (v: i32) -> [u8; 4] { v.to_le_bytes() }
                i64_store I64Store Mvp (v: i64) -> [u8; 8] { v.to_le_bytes() }
                f32_store F32Store Mvp (v: f32) -> [u8; 4] { v.to_le_bytes() }
                f64_store F64Store Mvp (v: f64) -> [u8; 8] { v.to_le_bytes() }
                i32_store8 I32Store8 Mvp (v: i32) -> [u8; 1] { (v as u8).to_le_bytes() }
                i32_store16 I32Store16 Mvp (v: i32) -> [u8; 2] { (v as u16).to_le_bytes() }
                i64_store8 I64Store8 Mvp (v: i64) -> [u8; 1] { (v as u8).to_le_bytes() }
                i64_store16 I64Store16 Mvp (v: i64) -> [u8; 2] { (v as u16).to_le_bytes() }
                i64_store32 I64Store32 Mvp (v: i64) -> [u8; 4] { (v as u32).to_le_bytes() }
                v128_store V128Store Simd128 (v: u128) -> [u8; 16] { v.to_le_bytes() }
            }
            lane_stores {
                v128_store8_lane V128Store8Lane Simd128 [16] (lane; v: u8x16) -> [u8; 1] { v[lane].to_le_bytes() }
                v128_store16_lane V128Store16Lane Simd128 [8] (lane; v: u16x8) -> [u8; 2] { v[lane].to_le_bytes() }
                v128_store32_lane V128Store32Lane Simd128 [4] (lane; v: u32x4) -> [u8; 4] { v[lane].to_le_bytes() }
                v128_store64_lane V128Store64Lane Simd128 [2] (lane; v: u64x2) -> [u8; 8] { v[lane].to_le_bytes() }
            }
        }
    };
}

pub(crate) use for_each_instr;
