//! The two threads of one layer and the queues between them.

use super::budget::Budget;
use super::decompress::Decoder;
use super::error::{UnpackError, from_io, through_io};
use super::extract::{Extracted, extract};
use super::tar_stream::TarStream;
use crate::digest::{Digest, Hasher};
use bytes::{Buf, Bytes};
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use tokio::sync::{mpsc, oneshot};

/// Pieces between the threads: large enough that a wake-up costs nothing, small enough to stay in the cache.
const PIECE: usize = 128 << 10;
const PIECES_QUEUED: usize = 3;
const BATCHES_QUEUED: usize = 3;

/// What a layer must turn out to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Of the bytes as they travel. `None` where nothing states them: layers of a docker-archive.
    pub(crate) digest: Option<Digest>,
    pub(crate) size: Option<u64>,
    /// Of the tar stream.
    pub(crate) diff_id: Digest,
}

/// One delivery to the pipeline.
pub(crate) enum Fed {
    Bytes(Vec<Bytes>),
    /// That was everything. A feed that is dropped without it was cut off.
    End,
}

/// Where the compressed bytes go in. A closed feed means that the pipeline has made up its mind.
pub(crate) type Feed = mpsc::Sender<Fed>;

#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    pub(crate) extracted: Extracted,
    pub(crate) compressed_bytes: u64,
}

pub(crate) struct LayerPipeline {
    result: oneshot::Receiver<Result<Unpacked, UnpackError>>,
    pub(crate) unpacked_bytes: Arc<AtomicU64>,
}

impl LayerPipeline {
    /// Starts the threads; they write below `root` and end when the feed does.
    pub(crate) fn start(
        root: OwnedFd,
        expected: Expected,
        budget: Arc<Budget>,
    ) -> io::Result<(Feed, LayerPipeline)> {
        let (feed, fed) = mpsc::channel(BATCHES_QUEUED);
        let (pieces_in, pieces_out) = sync_channel(PIECES_QUEUED);
        let (spent_in, spent_out) = channel();
        let (result_in, result) = oneshot::channel();
        let unpacked_bytes = Arc::new(AtomicU64::new(0));
        let inflate = Inflate {
            expected: expected.clone(),
            budget: Arc::clone(&budget),
            pieces: pieces_in,
            spent: spent_out,
            unpacked_bytes: Arc::clone(&unpacked_bytes),
        };
        std::thread::Builder::new()
            .name("layer-inflate".into())
            .spawn(move || inflate.run(fed))?;
        std::thread::Builder::new()
            .name("layer-unpack".into())
            .spawn(move || {
                let reader = PieceReader {
                    pieces: pieces_out,
                    spent: spent_in,
                    current: Vec::new(),
                    read: 0,
                    hasher: Some(expected.diff_id.hasher()),
                    compressed_bytes: 0,
                    ended: false,
                };
                // Nobody may be waiting any more.
                let _ = result_in.send(unpack(reader, root, &budget, &expected.diff_id));
            })?;
        Ok((
            feed,
            LayerPipeline {
                result,
                unpacked_bytes,
            },
        ))
    }

    /// Cancel-safe: the result stays until it is taken.
    pub(crate) async fn finish(&mut self) -> Result<Unpacked, UnpackError> {
        (&mut self.result)
            .await
            .unwrap_or(Err(UnpackError::Panicked))
    }

    /// The same for a thread that may wait.
    pub(crate) fn finish_blocking(self) -> Result<Unpacked, UnpackError> {
        self.result
            .blocking_recv()
            .unwrap_or(Err(UnpackError::Panicked))
    }
}

fn unpack(
    reader: PieceReader,
    root: OwnedFd,
    budget: &Budget,
    diff_id: &Digest,
) -> Result<Unpacked, UnpackError> {
    let mut tar = TarStream::new(reader);
    let extracted = extract(&mut tar, root, budget);
    let mut reader = tar.into_inner();
    let extracted = match extracted {
        Ok(extracted) => extracted,
        Err(error) => return Err(reader.whose_fault(error)),
    };
    let got = match reader.hasher.take() {
        Some(hasher) => hasher.finish(),
        None => return Err(UnpackError::Panicked),
    };
    if got != *diff_id {
        return Err(UnpackError::WrongDigest {
            what: "diffID",
            expected: diff_id.clone(),
            got,
        });
    }
    Ok(Unpacked {
        extracted,
        compressed_bytes: reader.compressed_bytes,
    })
}

/// From the first thread to the second.
enum Piece {
    Data(Vec<u8>),
    /// Everything came and has the digest that it should have.
    Verified {
        compressed_bytes: u64,
    },
    Failed(UnpackError),
}

struct Inflate {
    expected: Expected,
    budget: Arc<Budget>,
    pieces: SyncSender<Piece>,
    spent: Receiver<Vec<u8>>,
    unpacked_bytes: Arc<AtomicU64>,
}

impl Inflate {
    fn run(self, fed: mpsc::Receiver<Fed>) {
        let source = FedReader {
            fed,
            batch: Vec::new().into_iter(),
            current: Bytes::new(),
            hasher: self.expected.digest.as_ref().map(Digest::hasher),
            count: 0,
            most: self.expected.size,
            ended: false,
        };
        let last = match self.pump(source) {
            Ok(Some(compressed_bytes)) => Piece::Verified { compressed_bytes },
            // The other thread is gone; it has said why.
            Ok(None) => return,
            Err(error) => Piece::Failed(error),
        };
        let _ = self.pieces.send(last);
    }

    fn pump(&self, source: FedReader) -> Result<Option<u64>, UnpackError> {
        let mut decoder = match Decoder::new(source, self.budget.limits.zstd_window_log) {
            Ok(decoder) => decoder,
            Err(error) => return Err(from_io(error, UnpackError::Decompress)),
        };
        let mut unpacked = 0;
        loop {
            let mut buffer = match self.spent.try_recv() {
                Ok(buffer) => buffer,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => vec![0; PIECE],
            };
            buffer.resize(PIECE, 0);
            let filled = match decoder.fill(&mut buffer) {
                Ok(filled) => filled,
                Err(error) => {
                    let error = from_io(error, UnpackError::Decompress);
                    if matches!(error, UnpackError::Decompress(_)) {
                        // Damaged on the way, or made so? The digest of the whole tells.
                        decoder.input().finish(&self.expected)?;
                    }
                    return Err(error);
                }
            };
            if filled == 0 {
                return decoder.input().finish(&self.expected).map(Some);
            }
            buffer.truncate(filled);
            unpacked += filled as u64;
            self.budget.take_bytes(filled as u64)?;
            self.budget
                .check_expansion(decoder.input().count, unpacked)?;
            self.unpacked_bytes.store(unpacked, Ordering::Relaxed);
            if self.pieces.send(Piece::Data(buffer)).is_err() {
                return Ok(None);
            }
        }
    }
}

/// The compressed bytes, hashed and counted as they are taken from the queue.
struct FedReader {
    fed: mpsc::Receiver<Fed>,
    batch: std::vec::IntoIter<Bytes>,
    current: Bytes,
    hasher: Option<Hasher>,
    count: u64,
    most: Option<u64>,
    ended: bool,
}

impl FedReader {
    /// Reads what is left, then compares length and digest. Returns the length.
    fn finish(&mut self, expected: &Expected) -> Result<u64, UnpackError> {
        loop {
            let length = match self.fill_buf() {
                Ok(piece) => piece.len(),
                Err(error) => return Err(from_io(error, UnpackError::Decompress)),
            };
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        if let Some(size) = expected.size
            && size != self.count
        {
            return Err(UnpackError::WrongSize {
                expected: size,
                got: self.count,
            });
        }
        if let (Some(expected), Some(hasher)) = (&expected.digest, self.hasher.take()) {
            let got = hasher.finish();
            if got != *expected {
                return Err(UnpackError::WrongDigest {
                    what: "digest",
                    expected: expected.clone(),
                    got,
                });
            }
        }
        Ok(self.count)
    }
}

impl BufRead for FedReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            if let Some(next) = self.batch.next() {
                self.count += next.len() as u64;
                if let Some(most) = self.most
                    && self.count > most
                {
                    return Err(through_io(UnpackError::WrongSize {
                        expected: most,
                        got: self.count,
                    }));
                }
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&next);
                }
                self.current = next;
                continue;
            }
            match self.fed.blocking_recv() {
                Some(Fed::Bytes(batch)) => self.batch = batch.into_iter(),
                Some(Fed::End) => self.ended = true,
                None => return Err(through_io(UnpackError::Aborted)),
            }
        }
        Ok(&self.current)
    }
    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for FedReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(into.len());
        into[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// The tar stream, hashed as it is taken from the queue. It ends only when the compressed bytes were verified.
struct PieceReader {
    pieces: Receiver<Piece>,
    spent: std::sync::mpsc::Sender<Vec<u8>>,
    current: Vec<u8>,
    read: usize,
    hasher: Option<Hasher>,
    compressed_bytes: u64,
    ended: bool,
}

impl PieceReader {
    /// What looks like a bad archive may be a good one that was damaged on the way: the digest of the whole tells. Another source, or
    /// another try, may then have the right bytes.
    fn whose_fault(&mut self, error: UnpackError) -> UnpackError {
        if error.is_of_this_machine() || error.is_of_the_transfer() {
            return error;
        }
        loop {
            let length = match self.fill_buf() {
                Ok([]) => return error,
                Ok(piece) => piece.len(),
                Err(other) => {
                    return match from_io(other, UnpackError::Decompress) {
                        other @ (UnpackError::WrongDigest { .. }
                        | UnpackError::WrongSize { .. }) => other,
                        _ => error,
                    };
                }
            };
            self.consume(length);
        }
    }
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.current.len() && !self.ended {
            if self.current.capacity() > 0 {
                // The first thread may have ended; then nobody needs the buffer.
                let _ = self.spent.send(std::mem::take(&mut self.current));
            }
            self.read = 0;
            match self.pieces.recv() {
                Ok(Piece::Data(piece)) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&piece);
                    }
                    self.current = piece;
                }
                Ok(Piece::Verified { compressed_bytes }) => {
                    self.compressed_bytes = compressed_bytes;
                    self.ended = true;
                }
                Ok(Piece::Failed(error)) => return Err(through_io(error)),
                Err(_) => return Err(through_io(UnpackError::Panicked)),
            }
        }
        Ok(&self.current[self.read..])
    }
    fn consume(&mut self, amount: usize) {
        self.read += amount;
    }
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(into.len());
        into[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}
