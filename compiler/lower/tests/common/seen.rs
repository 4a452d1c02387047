//! Finds tasks of one step that meet in memory: threads run them at the same time, in any order. No task may read what another
//! one writes. Two may write the same bytes if both write the same values, as parts of a row do that share their ends.

use std::ops::Range;

/// Who touched each byte of the arena in a step: 0 for nobody, a task's number + 1, or [`Seen::SEVERAL`].
pub struct Seen {
    base: u32,
    writers: Vec<u32>,
    readers: Vec<u32>,
    /// What each byte was when its first writer had ended.
    values: Vec<u8>,
    /// Written by the task at hand.
    written: Vec<Range<u32>>,
}

impl Seen {
    const SEVERAL: u32 = u32::MAX;

    pub fn new(base: u32, bytes: u32) -> Seen {
        let n = bytes as usize;
        Seen { base, writers: vec![0; n], readers: vec![0; n], values: vec![0; n], written: vec![] }
    }

    /// The numbers of those bytes that lie in the arena.
    fn numbers(&self, bytes: Range<u32>) -> Range<usize> {
        let number = |at: u32| (at.saturating_sub(self.base) as usize).min(self.writers.len());
        number(bytes.start)..number(bytes.end)
    }

    /// False when `task` reads what another task has written, or writes what another one has read.
    pub fn alone(&mut self, task: u32, writes: bool, bytes: Range<u32>) -> bool {
        let me = task + 1;
        for i in self.numbers(bytes.clone()) {
            let other = if writes { self.readers[i] } else { self.writers[i] };
            if other != 0 && other != me {
                return false;
            }
            if !writes {
                self.readers[i] = if self.readers[i] == 0 || self.readers[i] == me { me } else { Seen::SEVERAL };
            }
        }
        if writes {
            self.written.push(bytes);
        }
        true
    }

    /// The end of a task: what it wrote must be what others wrote there before.
    pub fn settle(&mut self, task: u32, memory: &[u8]) -> Result<(), String> {
        for bytes in std::mem::take(&mut self.written) {
            for i in self.numbers(bytes) {
                let value = memory[self.base as usize + i];
                if self.writers[i] != 0 && self.writers[i] != task + 1 && self.values[i] != value {
                    return Err(format!(
                        "task {task} writes {value} to byte {i} of the arena, where task {} wrote {}",
                        self.writers[i] - 1,
                        self.values[i]
                    ));
                }
                self.writers[i] = task + 1;
                self.values[i] = value;
            }
        }
        Ok(())
    }
}
