//! A device that opened the mailbox channel, and the frames either way.

use std::{net::IpAddr, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    PeerKey,
    frame::{ReadFailure, read_body, read_length},
    session::RECEIPT,
    streams::{OpenFailure, Opened},
};

/// How long a device may take to take anything of what is written to it.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// How much is written at once: each must be taken within [`WRITE_STALL_MAX`].
const WRITE_STEP_BYTES: usize = 64 * 1024;

/// Shorter writes are gathered into one of about this size: each that reaches the stream is a frame of Yamux.
const GATHERED_BYTES: usize = 16 * 1024;

/// How long the end of a stream waits for the receipt.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a stream is of no more use. Drop both halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer: a frame was longer than [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX).
    #[error("a frame was announced that is too long")]
    TooLong,
    /// The peer, or the network: it went away, or does not speak the protocol.
    #[error("the stream broke")]
    Broken,
    /// The peer stopped in the middle of a frame, or takes nothing of what is written to it.
    #[error("the peer stopped reading or writing")]
    Stalled,
}

impl From<ReadFailure> for StreamError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::TooLong => Self::TooLong,
            ReadFailure::Broken => Self::Broken,
            ReadFailure::Stalled => Self::Stalled,
        }
    }
}

/// A device that opened [`Channel::Mailbox`](crate::Channel::Mailbox). Dropping it, or both halves, closes the channel, not the connection.
pub struct Caller {
    peer: PeerKey,
    address: Option<IpAddr>,
    incoming: Stream,
    outgoing: oneshot::Receiver<Result<Opened, OpenFailure>>,
}

impl Caller {
    pub(super) fn new(
        peer: PeerKey,
        address: Option<IpAddr>,
        incoming: Stream,
        outgoing: oneshot::Receiver<Result<Opened, OpenFailure>>,
    ) -> Self {
        Self { peer, address, incoming, outgoing }
    }

    /// Who it is.
    pub fn peer(&self) -> PeerKey {
        self.peer
    }

    /// Where it is connected from, if that is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What it says, and what is said to it.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        let writer = FrameWriter { stream: None, opening: Some(self.outgoing), gathered: Vec::new() };
        (FrameReader { stream: self.incoming }, writer)
    }
}

/// Frames from a device. Holds no buffer while it waits for one.
pub struct FrameReader {
    stream: Stream,
}

impl FrameReader {
    /// Waits for the length of the next frame, for ever; `None` at a clean end. Not cancel-safe: having dropped it, drop the reader.
    ///
    /// # Errors
    /// If the stream broke, or the frame would be too long.
    pub async fn next_length(&mut self) -> Result<Option<usize>, StreamError> {
        Ok(read_length(&mut self.stream).await?)
    }

    /// Reads the frame whose length was told. Takes memory as its bytes arrive. Not cancel-safe, as above.
    ///
    /// # Errors
    /// If the stream broke or does not go on.
    pub async fn frame(&mut self, length: usize) -> Result<Vec<u8>, StreamError> {
        Ok(read_body(&mut self.stream, length).await?)
    }

    /// Tells the device that all it wrote was taken. To be called at a clean end.
    pub async fn acknowledge_end(mut self) {
        // If this does not arrive, the device takes its last frames for lost, which is the safe side.
        if let Ok(Ok(())) = timeout(RECEIPT_TIMEOUT, self.stream.write_all(&[RECEIPT])).await {
            let _ = timeout(RECEIPT_TIMEOUT, self.stream.close()).await;
        }
    }
}

/// Frames to a device, on a stream that is opened with the first.
pub struct FrameWriter {
    stream: Option<Stream>,
    opening: Option<oneshot::Receiver<Result<Opened, OpenFailure>>>,
    /// What was not given to the stream yet. Takes no memory once it was.
    gathered: Vec<u8>,
}

impl FrameWriter {
    /// Writes frames, each with its length in front (four bytes, big-endian). They are on their way once [`flush`](Self::flush) has returned. Not
    /// cancel-safe: having dropped it, drop the writer.
    ///
    /// # Errors
    /// If the stream broke, or the device takes nothing for a minute.
    pub async fn write(&mut self, frames: &[u8]) -> Result<(), StreamError> {
        if frames.len() < GATHERED_BYTES {
            self.gathered.extend_from_slice(frames);
            return if self.gathered.len() < GATHERED_BYTES { Ok(()) } else { self.pass_on().await };
        }
        self.pass_on().await?;
        let stream = self.opened().await?;
        for step in frames.chunks(WRITE_STEP_BYTES) {
            in_time(stream.write_all(step)).await?;
        }
        Ok(())
    }

    /// Waits until what was written is on its way.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.pass_on().await?;
        match &mut self.stream {
            Some(stream) => in_time(stream.flush()).await,
            None => Ok(()),
        }
    }

    async fn pass_on(&mut self) -> Result<(), StreamError> {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.is_empty() {
            return Ok(());
        }
        in_time(self.opened().await?.write_all(&gathered)).await
    }

    /// Ends the stream, and waits until the device has taken everything, for ten seconds at most.
    pub async fn finish(mut self) {
        // What the session wrote last may not have been flushed.
        let _ = self.pass_on().await;
        let Some(stream) = &mut self.stream else { return };
        let receipt = timeout(RECEIPT_TIMEOUT, async {
            stream.close().await?;
            stream.read_exact(&mut [0]).await
        });
        // Without it nobody can do anything about it.
        let _ = receipt.await;
    }

    async fn opened(&mut self) -> Result<&mut Stream, StreamError> {
        if let Some(opening) = self.opening.take() {
            let opened = opening.await.ok().and_then(Result::ok).ok_or(StreamError::Broken)?;
            self.stream = Some(opened.stream);
        }
        self.stream.as_mut().ok_or(StreamError::Broken)
    }
}

async fn in_time(written: impl Future<Output = std::io::Result<()>>) -> Result<(), StreamError> {
    match timeout(WRITE_STALL_MAX, written).await {
        Err(_) => Err(StreamError::Stalled),
        Ok(Err(_)) => Err(StreamError::Broken),
        Ok(Ok(())) => Ok(()),
    }
}
