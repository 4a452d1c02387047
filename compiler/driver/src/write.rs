//! Writing files whole or not at all: a temporary file beside the target, then a rename.

use crate::Error;
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to `path`. Until everything is written, whatever was there stays; on error nothing is left behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.is_dir() {
        return Err(Error::file("write", path, std::io::ErrorKind::IsADirectory.into()));
    }
    // Devices and pipes (`-o /dev/null`) can be written, not replaced.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(|source| Error::file("write", path, source));
    }
    let write = || -> std::io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".wasm-torch-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::file("write", path, source))
}
