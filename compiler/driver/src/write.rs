//! Writing files whole or not at all: a temporary file beside the target, then a rename. What a process that was killed left
//! behind goes with the next write into the same folder.

use crate::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Temporary files begin and end with these. Whoever writes one holds a lock on it.
const PREFIX: &str = ".wasm-torch-";
const SUFFIX: &str = ".part";

/// Writes `bytes` to `path`. Until everything is written, whatever was there stays; on error nothing is left behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::file("write", path, source);
    if path.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // Devices and pipes (`-o /dev/null`) can be written, not replaced.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(failed);
    }
    replace(path, &[bytes], 0o666).map_err(failed)
}

/// Writes the parts, one after the other, to `path` as [`write_atomically`] does; `mode` is for Unix, before the umask.
pub(crate) fn replace(path: &Path, parts: &[&[u8]], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sweep(folder);
    let mut file = temporary(folder, mode)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file that is locked for as long as it is open.
fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    loop {
        let file = builder.tempfile_in(folder)?;
        // Where there are no locks, nobody sweeps either. Before the lock a sweep may have taken the file for left behind.
        if file.as_file().lock().is_err() || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes temporary files whose writer is gone: their locks went with it.
fn sweep(folder: &Path) {
    let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(ours)) {
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            // Somebody else may have been faster, or it may not be ours to remove. The lock is held until it is gone.
            let _ = std::fs::remove_file(entry.path());
        }
        drop(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_stays_and_what_was_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".wasm-torch-left.part");
        std::fs::write(&left, b"half").unwrap();
        let other = folder.path().join("other.part");
        std::fs::write(&other, b"not ours").unwrap();
        let busy = temporary(folder.path(), 0o666).unwrap();
        write_atomically(&folder.path().join("new"), b"whole").unwrap();
        assert!(!left.exists() && other.exists() && busy.path().exists());
        drop(busy);
        let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["new", "other.part"]);
    }

    #[test]
    fn many_writers_of_one_file_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| write_atomically(path, &[writer; 5000]).unwrap()));
            }
        });
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() == 5000 && bytes.iter().all(|b| *b == bytes[0]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
