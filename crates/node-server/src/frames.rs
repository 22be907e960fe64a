//! The frames of an exec session: one byte of kind, four of length (big endian), the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio_util::codec::{Decoder, Encoder};

/// No payload is longer.
pub const LONGEST: usize = 64 << 10;
const HEADER: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// To the process.
    Stdin(Bytes),
    /// There is no more input.
    StdinEnd,
    Stdout(Bytes),
    Stderr(Bytes),
    /// Of the client's terminal.
    Resize {
        columns: u16,
        rows: u16,
    },
    /// The last frame: a [`crate::wire::ExecResult`] as JSON.
    Exit(Bytes),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

impl Encoder<Frame> for FrameCodec {
    type Error = io::Error;
    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> io::Result<()> {
        let size;
        let (kind, payload): (u8, &[u8]) = match &frame {
            Frame::Stdin(bytes) => (0, bytes),
            Frame::Stdout(bytes) => (1, bytes),
            Frame::Stderr(bytes) => (2, bytes),
            Frame::Exit(bytes) => (3, bytes),
            Frame::Resize { columns, rows } => {
                let ([a, b], [c, d]) = (columns.to_be_bytes(), rows.to_be_bytes());
                size = [a, b, c, d];
                (4, &size)
            }
            Frame::StdinEnd => (5, &[]),
        };
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= LONGEST)
            .ok_or_else(|| io::Error::other("exec frame is too long"))?;
        out.reserve(HEADER + payload.len());
        out.put_u8(kind);
        out.put_u32(length);
        out.put_slice(payload);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = io::Error;
    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<Frame>> {
        let Some(header) = input.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let kind = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "exec frame is too long",
            ));
        }
        if input.len() < HEADER + length {
            input.reserve(HEADER + length - input.len());
            return Ok(None);
        }
        input.advance(HEADER);
        let payload = input.split_to(length).freeze();
        Ok(Some(match (kind, length) {
            (0, _) => Frame::Stdin(payload),
            (1, _) => Frame::Stdout(payload),
            (2, _) => Frame::Stderr(payload),
            (3, _) => Frame::Exit(payload),
            (4, 4) => Frame::Resize {
                columns: u16::from_be_bytes([payload[0], payload[1]]),
                rows: u16::from_be_bytes([payload[2], payload[3]]),
            },
            (5, 0) => Frame::StdinEnd,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("exec frame of kind {kind} and length {length} is not known"),
                ));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_however_they_are_cut() {
        let frames = [
            Frame::Stdin(Bytes::from_static(b"in")),
            Frame::StdinEnd,
            Frame::Stdout(Bytes::new()),
            Frame::Stderr(Bytes::from(vec![7; LONGEST])),
            Frame::Resize {
                columns: 300,
                rows: 2,
            },
            Frame::Exit(Bytes::from_static(b"{}")),
        ];
        let mut wire = BytesMut::new();
        for frame in &frames {
            FrameCodec.encode(frame.clone(), &mut wire).unwrap();
        }
        let (mut input, mut read) = (BytesMut::new(), Vec::new());
        for part in wire.chunks(3) {
            input.extend_from_slice(part);
            while let Some(frame) = FrameCodec.decode(&mut input).unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames);
    }

    #[test]
    fn a_frame_that_is_none_is_refused() {
        for bytes in [
            &[0, 0xff, 0, 0, 0][..],
            &[9, 0, 0, 0, 0],
            &[4, 0, 0, 0, 1, 0],
            &[5, 0, 0, 0, 1, 0],
        ] {
            let refused = FrameCodec.decode(&mut BytesMut::from(bytes));
            assert!(refused.is_err(), "{bytes:?}");
        }
        let long = Frame::Stdin(Bytes::from(vec![0; LONGEST + 1]));
        assert!(FrameCodec.encode(long, &mut BytesMut::new()).is_err());
    }
}
