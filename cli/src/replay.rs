//! (being written)
use crate::{failure::Failure, screen::Screen};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
pub(crate) async fn command(_: &Path, _: bool, _: Option<PathBuf>, _: &Screen) -> Result<ExitCode, Failure> {
    Err(Failure::failed("being written"))
}
