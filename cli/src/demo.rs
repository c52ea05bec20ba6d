//! (being written)
use std::path::PathBuf;
use std::process::ExitCode;
use crate::{args::Demo, failure::Failure, screen::Screen};
pub(crate) async fn demo(_: Demo, _: Option<PathBuf>, _: &Screen) -> Result<ExitCode, Failure> { Err(Failure::failed("being written")) }
