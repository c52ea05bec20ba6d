//! What goes over the socket of a running node: JSON, one value a line.
//!
//! A client writes one [`Request`](crate::request::Request) and reads [`Line`]s until `done` or `failed`; then it may
//! write the next. Whoever hangs up cancels what it asked for.

use clave::Progress;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::reply::Reply;

/// The longest line, in bytes: an imported file travels in one.
pub(crate) const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Lines that may wait for a slow reader.
const LINES_QUEUED_MAX: usize = 64;

/// What a node says while it works on a request, and at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// How far it is; `total_bytes` is 0 while that is not known.
    Progress { done_bytes: u64, total_bytes: u64 },
    /// One of several results.
    Item(Reply),
    /// Something to know besides.
    Warning(String),
    /// The end.
    Done(Reply),
    /// The end, too.
    Failed(Failure),
}

/// Where the results of a request go while it is worked on.
#[derive(Clone)]
pub(crate) struct Out(mpsc::Sender<Line>);

impl Out {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Line>) {
        let (sender, receiver) = mpsc::channel(LINES_QUEUED_MAX);
        (Self(sender), receiver)
    }

    /// Hands out a result, having waited for room.
    pub(crate) async fn item(&self, reply: Reply) -> Result<(), Failure> {
        self.0.send(Line::Item(reply)).await.map_err(|_| Failure::interrupted())
    }

    /// Says something besides.
    pub(crate) async fn warn(&self, words: String) -> Result<(), Failure> {
        self.0.send(Line::Warning(words)).await.map_err(|_| Failure::interrupted())
    }

    /// Says how far it is, if the reader keeps up.
    pub(crate) fn progress(&self, progress: Progress) {
        let Progress { done_bytes, total_bytes } = progress;
        let _ = self.0.try_send(Line::Progress { done_bytes, total_bytes });
    }
}

/// Reads a line; `None` at the end.
pub(crate) async fn read<T: for<'a> Deserialize<'a>>(
    reader: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<T>, Failure> {
    let mut line = Vec::new();
    let read = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
    match read {
        Ok(_) if line.ends_with(b"\n") => Ok(Some(serde_json::from_slice(&line)?)),
        Ok(0) => Ok(None),
        Ok(_) => Err(Failure::failed("the other clave process broke off in the middle of a line")),
        Err(error) => Err(broken(&error)),
    }
}

/// Writes a line.
pub(crate) async fn write(writer: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await.map_err(|error| broken(&error))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::failed(format!("the connection to the running node broke off: {error}"))
        .hint("see whether `clave run` is still there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_out_as_they_went_in() {
        let (mut here, there) = tokio::io::duplex(64);
        let lines = [
            Line::Progress { done_bytes: 1, total_bytes: 2 },
            Line::Item(Reply::Gone { id: "会\n议".into() }),
            Line::Done(Reply::Done),
            Line::Failed(Failure::interrupted()),
        ];
        let sent = lines.clone();
        let writing = tokio::spawn(async move {
            for line in sent {
                write(&mut here, &line).await.unwrap();
            }
            here.write_all(b"{\"done").await.unwrap();
        });
        let mut reader = tokio::io::BufReader::new(there);
        for line in lines {
            assert_eq!(read::<Line>(&mut reader).await.unwrap(), Some(line));
        }
        assert!(read::<Line>(&mut reader).await.is_err(), "half a line is an error");
        writing.await.unwrap();
        assert_eq!(read::<Line>(&mut reader).await.unwrap(), None);
    }
}
