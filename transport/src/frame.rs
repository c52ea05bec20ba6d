//! Frames on a stream: four bytes of length, big-endian, then so many bytes.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::FRAME_BYTES_MAX;

/// A frame that has begun must go on within this time, so that nobody holds half a frame in our memory for ever.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Memory for a frame grows by so much as its bytes arrive: a claimed length alone costs us nothing.
const READ_STEP_BYTES: usize = 64 * 1024;

/// Room for so many bytes is set aside at once, so that what arrives need not be moved.
const RESERVED_BYTES_MAX: usize = 1024 * 1024;

/// Why no frame could be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    /// The length is over [`FRAME_BYTES_MAX`].
    TooLong,
    /// The stream ended inside a frame, or its end was not a clean one.
    Broken,
    /// The other side stopped in the middle.
    Stalled,
}

/// The next frame; `None` at a clean end. Not cancel-safe: having dropped it, drop the stream.
pub(crate) async fn read_frame<S>(stream: &mut S) -> Result<Option<Vec<u8>>, ReadFailure>
where
    S: AsyncRead + Unpin,
{
    match read_length(stream).await? {
        Some(length) => read_body(stream, length).await.map(Some),
        None => Ok(None),
    }
}

/// How long the next frame is; `None` at a clean end. Not cancel-safe.
pub(crate) async fn read_length<S>(stream: &mut S) -> Result<Option<usize>, ReadFailure>
where
    S: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    match stream.read(&mut length).await {
        Ok(0) => return Ok(None),
        Ok(read) => fill(stream, &mut length[read..]).await?,
        Err(_) => return Err(ReadFailure::Broken),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(ReadFailure::TooLong);
    }
    Ok(Some(length))
}

/// The frame itself, after its length. Not cancel-safe.
pub(crate) async fn read_body<S>(stream: &mut S, length: usize) -> Result<Vec<u8>, ReadFailure>
where
    S: AsyncRead + Unpin,
{
    // Room that nothing is written to takes no memory.
    let mut bytes = Vec::with_capacity(length.min(RESERVED_BYTES_MAX));
    while bytes.len() < length {
        let start = bytes.len();
        if start == bytes.capacity() {
            // Who has sent so much may send the rest: what came is moved once at most, and not with every doubling.
            bytes.reserve_exact(length - start);
        }
        bytes.resize(length.min(start + READ_STEP_BYTES), 0);
        fill(stream, &mut bytes[start..]).await?;
    }
    Ok(bytes)
}

async fn fill<S>(stream: &mut S, mut room: &mut [u8]) -> Result<(), ReadFailure>
where
    S: AsyncRead + Unpin,
{
    while !room.is_empty() {
        match timeout(STALL_MAX, stream.read(room)).await {
            Err(_) => return Err(ReadFailure::Stalled),
            Ok(Err(_)) | Ok(Ok(0)) => return Err(ReadFailure::Broken),
            Ok(Ok(read)) => room = &mut room[read..],
        }
    }
    Ok(())
}

/// Writes a frame of at most [`FRAME_BYTES_MAX`], which lies in pieces. Does not flush.
pub(crate) async fn write_frame<S>(stream: &mut S, pieces: &[impl AsRef<[u8]>]) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let bytes: usize = pieces.iter().map(|piece| piece.as_ref().len()).sum();
    let length = u32::try_from(bytes).expect("frames are checked against FRAME_BYTES_MAX when queued");
    stream.write_all(&length.to_be_bytes()).await?;
    for piece in pieces {
        stream.write_all(piece.as_ref()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<ReadFailure>) {
        let mut stream = Cursor::new(bytes);
        let mut frames = Vec::new();
        loop {
            match read_frame(&mut stream).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(failure) => return (frames, Some(failure)),
            }
        }
    }

    #[tokio::test]
    async fn frames_come_back_as_written() {
        let frames = vec![vec![], vec![1], vec![2; 65_536], vec![3; FRAME_BYTES_MAX]];
        let mut wire = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            // However it lies.
            let (begin, end) = frame.split_at(frame.len() / (n + 1));
            write_frame(&mut wire, &[begin, end]).await.unwrap();
        }
        assert_eq!(wire[..9], [0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(read_all(&wire).await, (frames, None));
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_its_bytes() {
        let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
        assert_eq!(read_all(&too_long).await, (vec![], Some(ReadFailure::TooLong)));
        assert_eq!(read_all(&[0xff; 64]).await, (vec![], Some(ReadFailure::TooLong)));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_no_clean_end() {
        for wire in [&[0][..], &[0, 0, 0, 2][..], &[0, 0, 0, 2, 7][..]] {
            assert_eq!(read_all(wire).await, (vec![], Some(ReadFailure::Broken)), "{wire:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_frame_is_not_waited_for_for_ever() {
        let mut stream = Cursor::new([0, 0, 0, 2, 7]).chain(Never);
        assert_eq!(read_frame(&mut stream).await, Err(ReadFailure::Stalled));
    }

    struct Never;

    impl AsyncRead for Never {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }
}
