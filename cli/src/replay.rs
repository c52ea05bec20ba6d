//! (being written)
use std::path::{Path,PathBuf};
use std::process::ExitCode;
use crate::{failure::Failure, screen::Screen};
pub(crate) async fn command(_: &Path, _: bool, _: Option<PathBuf>, _: &Screen) -> Result<ExitCode, Failure> { Err(Failure::failed("being written")) }
