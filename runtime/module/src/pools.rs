//! Size-class pools: blocks of a power of two bytes, each kept for reuse when freed. No merging, no splitting, no threads.
//!
//! A block is a 16-byte header and 2^class bytes; the header says the class and, while the block is free, the next free
//! one. Everything is reached through [`Memory`], so the same file runs in the module and in native tests.

use abi::PoolStats;

/// What the pools need of a linear memory.
pub trait Memory {
    /// Size in bytes.
    fn end(&self) -> u64;
    /// Grows to at least `end` bytes; false if that is not possible.
    fn grow_to(&mut self, end: u64) -> bool;
    fn load(&self, address: u32) -> u32;
    fn store(&mut self, address: u32, word: u32);
}

/// Smallest class: 2^4 = 16 bytes. The largest is 2^31.
const MIN_CLASS: u32 = 4;
const CLASSES: usize = 28;

/// The header's size: it keeps blocks aligned to 16 bytes.
const HEADER: u32 = 16;
/// Header word 0: `TAG | state | class`. Anything else is not a block.
const TAG: u32 = 0xb10c_0000;
const FREE: u32 = 0x100;
/// Header word 1, of a free block: the next free block of the class, or 0.
const NEXT: u32 = 4;

/// The allocator's state.
pub struct Pools {
    /// First free block of each class, or 0.
    free: [u32; CLASSES],
    /// First and one past the last address ever handed to a block.
    base: u32,
    top: u32,
    pub stats: PoolStats,
}

impl Pools {
    /// Pools that refuse everything.
    pub const EMPTY: Pools = Pools {
        free: [0; CLASSES],
        base: 0,
        top: 0,
        stats: PoolStats { used_bytes: 0, peak_bytes: 0, reserved_bytes: 0, hits: 0, misses: 0, refused: 0, limit_bytes: 0 },
    };

    /// Pools that grow upwards from `base`, a multiple of 16 and not 0.
    pub const fn new(base: u32) -> Pools {
        Pools { base, top: base, ..Pools::EMPTY }
    }

    /// Address of at least `bytes` bytes, aligned to 16, or 0.
    pub fn alloc<M: Memory>(&mut self, memory: &mut M, bytes: u32) -> u32 {
        let Some(wanted) = class_of(bytes) else { return self.refuse() };
        if let Some(block) = self.pop(memory, wanted) {
            self.stats.hits += 1;
            return self.take(memory, block, wanted);
        }
        if let Some(block) = self.fresh(memory, wanted) {
            self.stats.misses += 1;
            return self.take(memory, block, wanted);
        }
        // The memory is exhausted: a larger free block is better than none.
        for class in wanted + 1..MIN_CLASS + CLASSES as u32 {
            if let Some(block) = self.pop(memory, class) {
                self.stats.hits += 1;
                return self.take(memory, block, class);
            }
        }
        self.refuse()
    }

    /// Takes a block back. 0, a block that is already free and an address that is no block's are ignored.
    pub fn free<M: Memory>(&mut self, memory: &mut M, address: u32) {
        let inside = address >= self.base.saturating_add(HEADER) && address < self.top;
        if !inside || !address.is_multiple_of(HEADER) {
            return;
        }
        let block = address - HEADER;
        let class = memory.load(block) ^ TAG;
        if self.give(memory, block, class) {
            self.stats.used_bytes -= 1 << class;
        }
    }

    /// Adds a block to the free ones; false if there is no such class.
    fn give<M: Memory>(&mut self, memory: &mut M, block: u32, class: u32) -> bool {
        let Some(head) = self.head(class) else { return false };
        let next = core::mem::replace(head, block);
        memory.store(block, TAG | FREE | class);
        memory.store(block + NEXT, next);
        true
    }

    /// Puts up to `count` free blocks for `bytes` bytes into the pools; how many there was memory for.
    pub fn reserve<M: Memory>(&mut self, memory: &mut M, bytes: u32, count: u32) -> u32 {
        let Some(class) = class_of(bytes) else { return 0 };
        for done in 0..count {
            let Some(block) = self.fresh(memory, class) else { return done };
            self.give(memory, block, class);
        }
        count
    }

    fn head(&mut self, class: u32) -> Option<&mut u32> {
        self.free.get_mut(class.wrapping_sub(MIN_CLASS) as usize)
    }

    fn pop<M: Memory>(&mut self, memory: &M, class: u32) -> Option<u32> {
        let head = self.head(class).filter(|head| **head != 0)?;
        let block = *head;
        *head = memory.load(block + NEXT);
        Some(block)
    }

    fn fresh<M: Memory>(&mut self, memory: &mut M, class: u32) -> Option<u32> {
        let end = u64::from(self.top) + u64::from(HEADER) + (1 << class);
        let top = u32::try_from(end).ok().filter(|_| self.base != 0)?;
        if self.stats.limit_bytes != 0 && top - self.base > self.stats.limit_bytes {
            return None;
        }
        if end > memory.end() && !memory.grow_to(end) {
            return None;
        }
        self.stats.reserved_bytes += top - self.top;
        Some(core::mem::replace(&mut self.top, top))
    }

    fn take<M: Memory>(&mut self, memory: &mut M, block: u32, class: u32) -> u32 {
        memory.store(block, TAG | class);
        self.stats.used_bytes += 1 << class;
        self.stats.peak_bytes = self.stats.peak_bytes.max(self.stats.used_bytes);
        block + HEADER
    }

    fn refuse(&mut self) -> u32 {
        self.stats.refused += 1;
        0
    }
}

/// The smallest class that holds `bytes`; none above 2 GiB.
fn class_of(bytes: u32) -> Option<u32> {
    bytes.checked_next_power_of_two().map(|size| size.trailing_zeros().max(MIN_CLASS))
}
