//! Gzip (RFC 1952) with exactly one member and nothing after it but, where that is allowed, zeros.

use std::io::{self, BufRead, Read};

use flate2::Crc;

use super::{fault, inflate::Inflate, read_exact};
use crate::Rejection;

/// Longest original file name in a header.
const MAX_NAME: usize = 1024;

/// Unpacks the only member of a gzip file. The read that reports the end has proven checksum,
/// length and that the file ends there.
pub struct GzipReader<R> {
    body: Inflate<R>,
    crc: Crc,
    zero_padding: bool,
    ended: bool,
}

impl<R: BufRead> GzipReader<R> {
    /// Reads the header. `zero_padding` tells whether zeros may follow the stream.
    ///
    /// # Errors
    /// Refuses what is not gzip, and headers with extra fields or comments, in which another file
    /// format could hide; no build tool writes them.
    pub fn new(mut input: R, zero_padding: bool) -> Result<Self, Rejection> {
        let mut header = [0; 10];
        read_exact(&mut input, &mut header)?;
        if header[..3] != [0x1f, 0x8b, 8] {
            return Err(Rejection::new(
                "archive-not-gzip",
                "The file is not gzip-compressed.",
            ));
        }
        let flags = header[3];
        if flags & !0b0000_1001 != 0 {
            return Err(Rejection::new(
                "archive-gzip-header",
                format!("The gzip header has unusual flags ({flags:#04x}): extra data, a comment or reserved bits."),
            )
            .with_remedy("Build the archive with the ecosystem's own tool, such as `uv build` or `cargo package`."));
        }
        // Bit 0 (FTEXT) is a hint without meaning; bit 3 says that a file name follows.
        if flags & 0b1000 != 0 {
            let mut byte = [0];
            for length in 0.. {
                read_exact(&mut input, &mut byte)?;
                if byte[0] == 0 {
                    break;
                }
                if length == MAX_NAME {
                    return Err(Rejection::new(
                        "archive-gzip-header",
                        format!("The gzip header has a file name of more than {MAX_NAME} bytes."),
                    ));
                }
            }
        }
        Ok(Self {
            body: Inflate::new(input),
            crc: Crc::new(),
            zero_padding,
            ended: false,
        })
    }

    fn finish(&mut self) -> Result<(), Rejection> {
        let mut trailer = [0; 8];
        let input = self.body.input_mut();
        read_exact(input, &mut trailer)?;
        let crc = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
        let length = u32::from_le_bytes([trailer[4], trailer[5], trailer[6], trailer[7]]);
        if crc != self.crc.sum() || length != self.crc.amount() {
            return Err(Rejection::new(
                "archive-corrupt",
                "The gzip checksum or length is wrong.",
            ));
        }
        loop {
            let rest = input
                .fill_buf()
                .map_err(|error| super::read_rejection(&error))?;
            if rest.is_empty() {
                return Ok(());
            }
            if !self.zero_padding || rest.iter().any(|byte| *byte != 0) {
                return Err(Rejection::new(
                    "archive-trailing-data",
                    "There is data after the gzip stream.",
                )
                .with_remedy("An archive must be one gzip stream and nothing else."));
            }
            let length = rest.len();
            input.consume(length);
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.ended {
            return Ok(0);
        }
        let read = self.body.read(out)?;
        if read == 0 {
            self.finish().map_err(fault)?;
            self.ended = true;
        }
        self.crc.update(&out[..read]);
        Ok(read)
    }
}
