//! The bytes of an instance's memory by their place in the arena, for tests that look below the interface.

use super::Instance;

impl Instance {
    /// A copy of `count` bytes from an offset of the arena on; `None` outside of the memory.
    pub fn read_arena(&self, offset: u32, count: usize) -> Option<Vec<u8>> {
        self.memory.read(&self.store, self.arena_base as usize + offset as usize, count)
    }

    /// Writes bytes from an offset of the arena on; `None` outside of the memory.
    pub fn write_arena(&mut self, offset: u32, bytes: &[u8]) -> Option<()> {
        self.memory.write(&mut self.store, self.arena_base as usize + offset as usize, bytes)
    }

    /// The packed weights as they lie in memory.
    pub fn read_weights(&self) -> Option<Vec<u8>> {
        let memory = &self.manifest.memory;
        self.memory.read(&self.store, memory.weights_base as usize, memory.weights_bytes as usize)
    }
}
