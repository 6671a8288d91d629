//! Raw deflate that insists on the end of the stream. The readers of `flate2` report a stream that
//! just stops as its end, and a stream of which two readers see different ends is what we refuse.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::fault;
use crate::Rejection;

/// Inflates one deflate stream; leaves `input` exactly behind its last byte.
pub(super) struct Inflate<R> {
    input: R,
    state: Decompress,
    ended: bool,
}

impl<R: BufRead> Inflate<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            state: Decompress::new(false),
            ended: false,
        }
    }

    pub(super) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.ended {
            return Ok(0);
        }
        loop {
            let input = self.input.fill_buf()?;
            let exhausted = input.is_empty();
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(input, out, FlushDecompress::None)
                .map_err(|error| {
                    fault(Rejection::new(
                        "archive-corrupt",
                        format!("The compressed data is damaged: {error}."),
                    ))
                })?;
            // Both differences are bounded by the two buffers' lengths.
            let consumed = (self.state.total_in() - read) as usize;
            let produced = (self.state.total_out() - written) as usize;
            self.input.consume(consumed);
            if status == Status::StreamEnd {
                self.ended = true;
                return Ok(produced);
            }
            if produced > 0 {
                return Ok(produced);
            }
            if exhausted || consumed == 0 {
                return Err(fault(Rejection::new(
                    "archive-truncated",
                    "The compressed data ends in the middle of the stream.",
                )));
            }
        }
    }
}
