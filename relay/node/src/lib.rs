//! The blind relay of Clave: keeps sealed entries for devices that are offline, carries connections between those that cannot reach each other, and can
//! read none of it.
//!
//! It is a program: `clave-relay`, which does nothing but [`run()`]. It owns a key, a store of sealed blobs, some sockets and its limits. It links no code that could decrypt anything of a team's. What it
//! says to devices is `docs/relay-protocol.md`; how to operate it, `docs/operating.md`. Inside:
//!
//! | | |
//! | --- | --- |
//! | `session` | what one device and the relay say to each other: a state machine without I/O |
//! | `store` | where blobs lie, behind a trait |
//! | `sources` | how much who may send |
//! | `hub` | who is told when something is stored |
//! | `wake` | pushes to devices that are not there |
//! | `service` | sessions over streams |
//! | `run` | all of it together, with `config`, `control`, `http`, `backup` for its operator |

#![forbid(unsafe_code)]

mod access;
mod backup;
mod cli;
mod config;
mod control;
mod files;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hex;
mod http;
mod hub;
mod identity;
mod metrics;
mod run;
mod service;
mod session;
mod signals;
mod snapshot;
mod sources;
mod store;
#[cfg(test)]
mod unlinkable;
mod wake;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clave_transport::TransportError;

/// Why the relay stopped, did not start, or did not do what a command asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum Failure {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error(transparent)]
    Wake(#[from] wake::WakeError),
    #[error(transparent)]
    Cluster(#[from] store::ClusterError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Control(#[from] control::ControlError),
    #[error(transparent)]
    Backup(#[from] backup::BackupError),
    #[error("no address that is to be listened on can be used: see the messages above")]
    Deaf,
    #[error("say where to listen: give --listen, or a configuration with --config")]
    NoListen,
    #[error("the data directory {0} cannot be made: {1}. Make it, and give it to the relay's user")]
    Data(PathBuf, io::Error),
    #[error("{0}, which says what is blocked, cannot be read: {1}. Mend it or take it away")]
    Blocks(PathBuf, io::Error),
    #[error("metrics cannot be served on {0}: {1}. Choose another with `metrics.listen`")]
    Metrics(SocketAddr, io::Error),
    #[error("{0} cannot be written: {1}")]
    File(PathBuf, io::Error),
    #[error("{0}")]
    NotDone(String),
    #[error("the system refused {0}: {1}")]
    System(&'static str, io::Error),
}

/// Threads that wait for the disk at a time. Beyond, what is to be done waits: each has a stack, and more of them make no disk faster.
const BLOCKING_THREADS_MAX: usize = 64;

/// Does what the command line says, and says what went wrong.
pub fn run() -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build();
    let done =
        runtime.map_err(|error| Failure::System("threads", error)).and_then(|runtime| runtime.block_on(cli::execute()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "clave-relay: {failure}");
            ExitCode::FAILURE
        }
    }
}
