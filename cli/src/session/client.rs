//! Asking a running node.

use std::io::ErrorKind;
use std::path::Path;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::socket::SocketPath;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::request::Request;
use crate::wire::{self, Line};

/// A connection to a running node: one request after the other.
pub(crate) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// Connects, if there is a running node.
    pub(crate) async fn connect(directory: &Path) -> Result<Option<Self>, Failure> {
        let failed = |error| Failure::file(directory, &error);
        let path = match SocketPath::of(directory) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match UnixStream::connect(&path.address).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                Ok(Some(Self { reader: BufReader::new(reader), writer }))
            }
            // No socket, or one that a killed process left behind.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(Failure::file(&path.file, &error)),
        }
    }

    /// Asks, and hands what comes before the end to `take`. After a future was dropped halfway, drop the client too.
    pub(crate) async fn call(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Reply, Failure> {
        wire::write(&mut self.writer, request).await?;
        loop {
            match wire::read(&mut self.reader).await? {
                Some(Line::Done(reply)) => return Ok(reply),
                Some(Line::Failed(failure)) => return Err(failure),
                Some(line) => take(line)?,
                None => {
                    let failure = Failure::failed("the running node ended before it answered");
                    return Err(failure.hint("start it again with `clave run`, and try again"));
                }
            }
        }
    }
}
