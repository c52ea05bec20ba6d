//! What the system tells a process.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::Failure;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    Reload,
}

/// Ctrl-c, and what a service manager sends.
pub(crate) fn watch() -> Result<mpsc::Receiver<Signal>, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    let kinds = [
        (SignalKind::interrupt(), Signal::Stop),
        (SignalKind::terminate(), Signal::Stop),
        (SignalKind::hangup(), Signal::Reload),
    ];
    for (kind, means) in kinds {
        let mut signals = signal(kind).map_err(|error| Failure::System("to watch for signals", error))?;
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(means).await.is_ok() {} });
    }
    Ok(receiver)
}
