//! Taking compression off, whichever it is.
//!
//! The first bytes decide, not the media type: registries and build tools mislabel layers, and every runtime looks. Concatenated
//! gzip members are one stream, as in Go; anything else after a member is an error.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Chain, Cursor, Read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    const LONGEST_MAGIC: usize = 4;

    pub(crate) fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame, with which zstd streams may begin (zstd:chunked, estargz).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

type Input<R> = Chain<Cursor<Vec<u8>>, R>;

pub(crate) enum Decoder<R: BufRead> {
    None(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<R>>>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `input`. `window_log` bounds the memory that a zstd stream may ask for.
    pub(crate) fn new(mut input: R, window_log: u32) -> io::Result<Decoder<R>> {
        let mut start = Vec::with_capacity(Compression::LONGEST_MAGIC);
        while start.len() < Compression::LONGEST_MAGIC {
            let piece = input.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let taken = piece.len().min(Compression::LONGEST_MAGIC - start.len());
            start.extend_from_slice(&piece[..taken]);
            input.consume(taken);
        }
        let compression = Compression::of(&start);
        let input = Cursor::new(start).chain(input);
        Ok(match compression {
            Compression::None => Decoder::None(input),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(window_log)?;
                Decoder::Zstd(Box::new(decoder))
            }
        })
    }

    pub(crate) fn input(&mut self) -> &mut R {
        match self {
            Decoder::None(input) => input.get_mut().1,
            Decoder::Gzip(decoder) => decoder.get_mut().get_mut().1,
            Decoder::Zstd(decoder) => decoder.get_mut().get_mut().1,
        }
    }

    /// Fills `buffer` as far as the stream goes.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::None(input) => input.read(into),
            Decoder::Gzip(decoder) => decoder.read(into),
            Decoder::Zstd(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(data).unwrap();
        out.finish().unwrap()
    }

    fn decode(data: &[u8]) -> io::Result<Vec<u8>> {
        // One byte at a time: the magic number must be found however the network cuts the stream.
        let mut out = vec![0; 1 << 20];
        let filled = Decoder::new(BufReader::with_capacity(1, data), 22)?.fill(&mut out)?;
        out.truncate(filled);
        Ok(out)
    }

    #[test]
    fn every_compression_is_recognised_by_its_first_bytes() {
        let text = b"hello ".repeat(1000);
        assert_eq!(decode(&gzip(&text)).unwrap(), text);
        assert_eq!(
            decode(&zstd::encode_all(&text[..], 3).unwrap()).unwrap(),
            text
        );
        assert_eq!(decode(&text).unwrap(), text);
        assert_eq!(decode(b"").unwrap(), b"");
        assert_eq!(decode(&[0x1f]).unwrap(), [0x1f]);
    }

    #[test]
    fn concatenated_members_are_one_stream() {
        let mut both = gzip(b"one ");
        both.extend(gzip(b""));
        both.extend(gzip(b"two"));
        assert_eq!(decode(&both).unwrap(), b"one two");
        let mut both = zstd::encode_all(&b"one "[..], 1).unwrap();
        both.extend(zstd::encode_all(&b"two"[..], 1).unwrap());
        assert_eq!(decode(&both).unwrap(), b"one two");
    }

    #[test]
    fn what_is_cut_short_or_followed_by_something_else_is_an_error() {
        let good = gzip(&b"hello".repeat(100));
        for cut in 3..good.len() {
            assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut garbage = good.clone();
        garbage.extend_from_slice(b"garbage that is no member");
        assert!(decode(&garbage).is_err());
        let mut zeros = good;
        zeros.extend_from_slice(&[0; 512]);
        assert!(decode(&zeros).is_err());
        let good = zstd::encode_all(&b"hello".repeat(100)[..], 3).unwrap();
        for cut in 5..good.len() {
            assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_window_larger_than_allowed_is_refused() {
        let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(24).unwrap();
        out.write_all(&vec![7; 1 << 22]).unwrap();
        assert!(decode(&out.finish().unwrap()).is_err());
    }
}
