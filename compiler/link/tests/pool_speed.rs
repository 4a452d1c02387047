//! What pools are for: a block that was used before against one that the memory must grow for, in wasmtime.

mod common;

use common::{Host, linked, plan};
use std::time::Instant;

/// Blocks at once, and bytes of each.
const BLOCKS: u32 = 64;
const BYTES: u32 = 256 << 10;

/// A cached allocation is at least five times as fast as growing, and after a warm-up (nearly) every allocation is one.
#[test]
fn cached_blocks_are_faster_than_new_memory() {
    let mut host = Host::new(&linked(&plan()).wasm);
    let round = |host: &mut Host| {
        let start = Instant::now();
        let blocks: Vec<u32> = (0..BLOCKS).map(|_| host.call("alloc", &[BYTES])).collect();
        let time = start.elapsed();
        assert!(blocks.iter().all(|block| *block != 0));
        // Fresh memory costs at its first use: every page is touched.
        let start = Instant::now();
        for block in &blocks {
            (0..BYTES).step_by(4096).for_each(|at| host.write(block + at, &[1.0]));
        }
        let time = time + start.elapsed();
        for block in blocks {
            host.call("free", &[block]);
        }
        time
    };
    let grown = round(&mut host);
    let cached = (0..20).map(|_| round(&mut host)).min().expect("rounds");
    let stats = host.call("pool_stats", &[]);
    let field = |name: &str| host.word(stats + abi::PoolStats::FIELDS.iter().find(|(field, ..)| *field == name).expect("a field").1 as u32);
    let (hits, misses) = (field("hits"), field("misses"));
    let ratio = f64::from(hits) / f64::from(hits + misses);
    println!("grown {grown:?}, cached {cached:?}, {:.1} times; hit ratio {ratio:.3}", grown.as_secs_f64() / cached.as_secs_f64());
    assert!(ratio >= 0.95, "{hits} hits, {misses} misses");
    assert!(grown >= 5 * cached, "grown {grown:?}, cached {cached:?}");
}
