//! The relay's key in a file: one line of 64 hexadecimal digits, readable by its owner only.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clave_transport::fresh_seed;
use zeroize::Zeroizing;

use crate::files;

/// Longer than any identity file.
const FILE_BYTES_MAX: u64 = 1024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IdentityError {
    #[error("the identity file {0} cannot be read: {1}. Give another one with --identity")]
    Unreadable(PathBuf, io::Error),
    #[error("the identity file {0} cannot be written: {1}. Give another one with --identity")]
    Unwritable(PathBuf, io::Error),
    #[error("{0} is not an identity file: restore it from a backup, or move it away to get a new identity")]
    Malformed(PathBuf),
    #[error("others can read the identity file {0}: if nobody has, run `chmod 600` on it; else move it away")]
    Exposed(PathBuf),
}

/// The seed in the file; a fresh one, written to it, if there is no file.
pub(crate) fn load_or_create(path: &Path) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(error) => Err(IdentityError::Unreadable(path.into(), error)),
    }
}

fn load(path: &Path, file: File) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let unreadable = |error| IdentityError::Unreadable(path.into(), error);
    if files::is_exposed(&file).map_err(unreadable)? {
        return Err(IdentityError::Exposed(path.into()));
    }
    let mut text = Zeroizing::new(String::new());
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(unreadable(error)),
        _ => {}
    }
    parse(&text).ok_or_else(|| IdentityError::Malformed(path.into()))
}

fn create(path: &Path) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let seed = fresh_seed();
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in seed.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are a digit"));
        }
    }
    text.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| IdentityError::Unwritable(path.into(), error))?;
    Ok(seed)
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.trim_end().as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).expect("two digits are a byte");
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_makes_a_key_and_the_next_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(*load_or_create(&path).unwrap(), *first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            assert!(matches!(load_or_create(&path), Err(IdentityError::Exposed(_))));
        }
    }

    #[test]
    fn what_is_no_key_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.key");
        load_or_create(&path).unwrap();
        for damaged in [&b""[..], b"00ff", &[b'g'; 64], &[0xff; 64], &[b'0'; 2000]] {
            // Keeps the mode.
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(load_or_create(&path), Err(IdentityError::Malformed(_))));
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
        let nowhere = folder.path().join("missing/relay.key");
        let said = load_or_create(&nowhere).unwrap_err().to_string();
        assert!(said.ends_with("Give another one with --identity"), "{said}");
    }
}
