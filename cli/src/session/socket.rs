//! Where the socket of a running node is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;

const SOCKET_FILE: &str = "socket";
/// The longest path that fits a socket's address on every system, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// The path of a socket, and what keeps the path valid.
pub(super) struct SocketPath {
    /// For the file system.
    pub(super) file: PathBuf,
    /// For the socket calls.
    pub(super) address: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// Of a data directory. Linux can reach a directory by an open handle, which makes a long path short.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let file = directory.join(SOCKET_FILE);
        if file.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { address: file.clone(), file, _directory: None });
        }
        #[cfg(target_os = "linux")]
        {
            let handle = File::open(directory)?;
            let address = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_FILE}", handle.as_raw_fd()));
            Ok(Self { file, address, _directory: Some(handle) })
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path of the data directory is longer than {PATH_BYTES_MAX} bytes; choose a shorter one"),
        ))
    }
}
