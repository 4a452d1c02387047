//! An instance's linear memory, its own or one that threads share, as bytes that are copied in and out. It knows no
//! tensors.
#![allow(unsafe_code, reason = "wasmtime gives out shared memory as cells that other threads may write")]

use super::EngineError;
use super::host::Store;
use link::DataSegment;
use std::sync::atomic::{AtomicU32, Ordering};
use wasmtime::{Engine, Extern, MemoryTypeBuilder, SharedMemory};

/// A linear memory.
#[derive(Clone)]
pub enum Memory {
    Own(wasmtime::Memory),
    Shared(SharedMemory),
}

impl Memory {
    /// A memory for a variant that imports it, with the file's data in it.
    pub fn new(
        engine: &Engine,
        store: &mut Store,
        shared: bool,
        pages: (u32, u32),
        data: &[DataSegment<'_>],
    ) -> Result<Memory, EngineError> {
        let failed = |error: wasmtime::Error| EngineError::Memory(format!("{error:#}"));
        // The builder refuses sizes that `MemoryType::new` panics on: the manifest of a damaged file may say anything.
        let ty = MemoryTypeBuilder::default().min(pages.0.into()).max(Some(pages.1.into())).shared(shared).build();
        let ty = ty.map_err(|error| EngineError::Interface(format!("its memory of {} to {} pages: {error:#}", pages.0, pages.1)))?;
        let memory = if shared {
            Memory::Shared(SharedMemory::new(engine, ty).map_err(failed)?)
        } else {
            Memory::Own(wasmtime::Memory::new(&mut *store, ty).map_err(failed)?)
        };
        for segment in data {
            memory.write(store, segment.address as usize, segment.bytes).ok_or_else(|| {
                EngineError::Interface(format!("{} bytes of data at {} lie outside the memory", segment.bytes.len(), segment.address))
            })?;
        }
        Ok(memory)
    }

    pub fn as_extern(&self) -> Extern {
        match self {
            Memory::Own(memory) => (*memory).into(),
            Memory::Shared(memory) => memory.clone().into(),
        }
    }

    /// Size in bytes.
    pub fn size(&self, store: &Store) -> u64 {
        match self {
            Memory::Own(memory) => memory.data_size(store) as u64,
            Memory::Shared(memory) => memory.data_size() as u64,
        }
    }

    /// A copy of `count` bytes; `None` outside the memory.
    pub fn read(&self, store: &Store, at: usize, count: usize) -> Option<Vec<u8>> {
        // A size that is wrong must not be allocated.
        if count as u64 > self.size(store) {
            return None;
        }
        let mut bytes = vec![0u8; count];
        self.read_into(store, at, &mut bytes)?;
        Some(bytes)
    }

    /// Copies bytes out; `None` outside the memory.
    pub fn read_into(&self, store: &Store, at: usize, into: &mut [u8]) -> Option<()> {
        let range = at..at.checked_add(into.len())?;
        match self {
            Memory::Own(memory) => into.copy_from_slice(memory.data(store).get(range)?),
            Memory::Shared(memory) => {
                let cells = memory.data().get(range)?;
                // SAFETY: the cells are `into.len()` bytes of a memory that never moves. No kernel writes them now:
                // they belong to the instance whose `run` is not being called, and workers touch nothing between runs.
                unsafe { std::ptr::copy_nonoverlapping(cells.as_ptr().cast::<u8>(), into.as_mut_ptr(), into.len()) };
            }
        }
        Some(())
    }

    /// Copies bytes in; `None` outside the memory.
    pub fn write(&self, store: &mut Store, at: usize, bytes: &[u8]) -> Option<()> {
        let range = at..at.checked_add(bytes.len())?;
        match self {
            Memory::Own(memory) => memory.data_mut(store).get_mut(range)?.copy_from_slice(bytes),
            Memory::Shared(memory) => {
                let cells = memory.data().get(range)?;
                // SAFETY: as in `read`; interior mutability is what the cells are for.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), cells.as_ptr().cast_mut().cast::<u8>(), bytes.len()) };
            }
        }
        Some(())
    }
}

/// A word of a shared memory.
#[derive(Clone)]
pub struct SharedWord {
    memory: SharedMemory,
    address: usize,
}

impl SharedWord {
    /// `None` outside the memory or off a word's boundary.
    pub fn new(memory: &SharedMemory, address: u32) -> Option<SharedWord> {
        let address = address as usize;
        (address.is_multiple_of(4) && memory.data().len() >= address.checked_add(4)?)
            .then(|| SharedWord { memory: memory.clone(), address })
    }

    pub fn store(&self, value: u32) {
        let cell = self.memory.data()[self.address].get();
        // SAFETY: the word lies inside the memory, which this value keeps alive and which never shrinks or moves; the
        // runtime reads it atomically as well.
        unsafe { AtomicU32::from_ptr(cell.cast::<u32>()) }.store(value, Ordering::SeqCst);
    }
}
