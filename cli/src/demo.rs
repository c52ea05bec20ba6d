//! (being written)
use crate::{args::Demo, failure::Failure, screen::Screen};
use std::path::PathBuf;
use std::process::ExitCode;
pub(crate) async fn demo(_: Demo, _: Option<PathBuf>, _: &Screen) -> Result<ExitCode, Failure> {
    Err(Failure::failed("being written"))
}
