//! Doors for `bench/` into what is private. Not part of the API.

use clave_engine::{Engine, EngineError};

use crate::{Error, Node};

/// Runs on the engine's thread; returns when what it did is durable.
///
/// # Errors
/// Those of `run`, or what the disk has to say.
pub async fn command<T: Send + 'static>(
    node: &Node,
    run: impl FnOnce(&mut Engine, u64) -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Error> {
    node.command(run).await
}
