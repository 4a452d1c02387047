//! The runtime's memory pools, compiled natively and driven against a plain list of blocks.

#[path = "../../../runtime/module/src/pools.rs"]
mod pools;

use pools::{Memory, Pools};
use proptest::prelude::*;

const BASE: u32 = 256;

/// Linear memory with a limit.
struct Bytes {
    words: Vec<u32>,
    limit: u64,
}

impl Bytes {
    fn new(limit: u64) -> Bytes {
        Bytes { words: vec![0xdead_beef; BASE as usize / 4], limit }
    }
}

impl Memory for Bytes {
    fn end(&self) -> u64 {
        self.words.len() as u64 * 4
    }

    fn grow_to(&mut self, end: u64) -> bool {
        let fits = end <= self.limit;
        if fits {
            self.words.resize(end.div_ceil(4) as usize, 0);
        }
        fits
    }

    fn load(&self, address: u32) -> u32 {
        assert_eq!(address % 4, 0);
        self.words[address as usize / 4]
    }

    fn store(&mut self, address: u32, word: u32) {
        assert!(address >= BASE && address.is_multiple_of(4));
        self.words[address as usize / 4] = word;
    }
}

#[test]
fn blocks_are_reused_by_class() {
    let (mut memory, mut pools) = (Bytes::new(1 << 20), Pools::new(BASE));
    let first = pools.alloc(&mut memory, 100);
    let second = pools.alloc(&mut memory, 100);
    assert_eq!(first % 16, 0);
    pools.free(&mut memory, first);
    pools.free(&mut memory, second);
    assert_eq!(pools.alloc(&mut memory, 65), second, "last in, first out");
    assert_eq!(pools.alloc(&mut memory, 128), first);
    assert_eq!(pools.stats.hits, 2);
    assert_eq!(pools.stats.misses, 2);
    assert_eq!((pools.stats.used_bytes, pools.stats.peak_bytes), (256, 256));
    assert_eq!(pools.stats.reserved_bytes, 2 * (128 + 16));
}

#[test]
fn edges_of_the_classes() {
    let (mut memory, mut pools) = (Bytes::new(1 << 20), Pools::new(BASE));
    for (bytes, class) in [(0, 16), (1, 16), (16, 16), (17, 32), (4096, 4096), (4097, 8192)] {
        let before = pools.stats.used_bytes;
        assert_ne!(pools.alloc(&mut memory, bytes), 0);
        assert_eq!(pools.stats.used_bytes - before, class, "{bytes}");
    }
    for bytes in [2 << 20, 1 << 31, (1 << 31) + 1, u32::MAX] {
        assert_eq!(pools.alloc(&mut memory, bytes), 0, "{bytes}");
    }
    assert_eq!(pools.stats.refused, 4);
}

#[test]
fn exhausted_memory_is_served_from_larger_blocks() {
    let (mut memory, mut pools) = (Bytes::new(u64::from(BASE) + 2 * 1040), Pools::new(BASE));
    let large = pools.alloc(&mut memory, 1024);
    assert_ne!(pools.alloc(&mut memory, 1024), 0);
    assert_eq!(pools.alloc(&mut memory, 16), 0, "full");
    pools.free(&mut memory, large);
    assert_eq!(pools.alloc(&mut memory, 16), large);
    pools.free(&mut memory, large);
    assert_eq!(pools.alloc(&mut memory, 1000), large, "it keeps its class");
}

#[test]
fn what_is_no_block_is_not_freed() {
    let (mut memory, mut pools) = (Bytes::new(1 << 20), Pools::new(BASE));
    let block = pools.alloc(&mut memory, 64);
    for address in [0, 1, 16, BASE, block + 4, block + 16, u32::MAX, 1 << 30] {
        pools.free(&mut memory, address);
    }
    assert_eq!(pools.stats.used_bytes, 64);
    pools.free(&mut memory, block);
    pools.free(&mut memory, block);
    assert_eq!(pools.stats.used_bytes, 0, "freed twice counts once");
    assert_ne!(pools.alloc(&mut memory, 64), pools.alloc(&mut memory, 64));
}

#[test]
fn reserved_blocks_are_hits() {
    let (mut memory, mut pools) = (Bytes::new(1 << 20), Pools::new(BASE));
    assert_eq!(pools.reserve(&mut memory, 100, 4), 4);
    assert_eq!((pools.stats.used_bytes, pools.stats.reserved_bytes), (0, 4 * (128 + 16)));
    let blocks: Vec<u32> = (0..5).map(|_| pools.alloc(&mut memory, 128)).collect();
    assert!(blocks.iter().all(|block| *block != 0));
    assert_eq!((pools.stats.hits, pools.stats.misses), (4, 1));
    assert_eq!(pools.reserve(&mut memory, 512 << 10, 4), 1, "as many as there is memory for");
    assert_eq!(pools.reserve(&mut memory, u32::MAX, 1), 0);
}

#[test]
fn a_limit_holds_until_it_is_lifted() {
    let (mut memory, mut pools) = (Bytes::new(1 << 20), Pools::new(BASE));
    pools.stats.limit_bytes = 3000;
    let first = pools.alloc(&mut memory, 1024);
    assert_ne!(first, 0);
    assert_ne!(pools.alloc(&mut memory, 1024), 0);
    assert_eq!(pools.alloc(&mut memory, 1024), 0, "three blocks and their headers are more than 3000 bytes");
    assert_eq!(pools.stats.refused, 1);
    pools.free(&mut memory, first);
    assert_eq!(pools.alloc(&mut memory, 1024), first, "reuse takes no memory");
    pools.stats.limit_bytes = 0;
    assert_ne!(pools.alloc(&mut memory, 1024), 0);
}

#[test]
fn pools_that_were_not_prepared_refuse() {
    let mut memory = Bytes::new(1 << 20);
    let mut pools = Pools::EMPTY;
    assert_eq!(pools.alloc(&mut memory, 1), 0);
    pools.free(&mut memory, 64);
}

proptest! {
    /// Live blocks never overlap, keep their contents, and the statistics add up.
    #[test]
    fn behaves_like_a_list_of_blocks(calls in proptest::collection::vec((any::<bool>(), 0u32..3000, any::<prop::sample::Index>()), 1..200)) {
        let (mut memory, mut pools) = (Bytes::new(64 << 10), Pools::new(BASE));
        let mut live: Vec<(u32, u32, u32)> = Vec::new();
        for (number, (allocate, bytes, pick)) in calls.into_iter().enumerate() {
            if allocate || live.is_empty() {
                let address = pools.alloc(&mut memory, bytes);
                if address != 0 {
                    prop_assert!(address % 16 == 0 && u64::from(address) + u64::from(bytes) <= memory.end());
                    let apart = |&(other, size, _): &(u32, u32, u32)| address >= other + size || other >= address + bytes;
                    prop_assert!(live.iter().all(apart));
                    (0..bytes / 4).for_each(|word| memory.store(address + 4 * word, number as u32));
                    live.push((address, bytes, number as u32));
                }
            } else {
                let (address, bytes, number) = live.swap_remove(pick.index(live.len()));
                prop_assert!((0..bytes / 4).all(|word| memory.load(address + 4 * word) == number));
                pools.free(&mut memory, address);
            }
            let used: u32 = live.iter().map(|(_, bytes, _)| bytes.next_power_of_two().max(16)).sum();
            prop_assert!(pools.stats.used_bytes >= used && pools.stats.used_bytes <= pools.stats.peak_bytes);
        }
        for (address, ..) in live {
            pools.free(&mut memory, address);
        }
        prop_assert_eq!(pools.stats.used_bytes, 0);
    }
}
