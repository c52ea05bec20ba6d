//! A door for `fuzz/` into the reader of frames. Not part of the API.

use futures::io::Cursor;

use crate::frame::{read_frame, write_frame};

/// The frames of a stream that is these bytes, and whether it ended cleanly.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    block_on(async {
        let (mut stream, mut frames) = (Cursor::new(bytes), Vec::new());
        loop {
            match read_frame(&mut stream).await {
                Ok(Some(frame)) => frames.push(frame),
                ended => return (frames, ended == Ok(None)),
            }
        }
    })
}

/// A stream of these frames.
#[must_use]
pub fn write(frames: &[Vec<u8>]) -> Vec<u8> {
    block_on(async {
        let mut stream = Cursor::new(Vec::new());
        for frame in frames {
            write_frame(&mut stream, &[frame]).await.expect("memory takes what is written");
        }
        stream.into_inner()
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O can be built").block_on(future)
}
