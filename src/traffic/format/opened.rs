//! A log as it lies on the disk, compressed or not: gzip and zstd are known by their first bytes, whatever the
//! file is called.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// RFC 1952, of one or more members.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// The name for people; none for what is not packed.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

const BUFFER: usize = 1 << 16;

/// A file's contents, unpacked.
///
/// # Errors
/// When reading fails, or what looks packed is not.
pub fn open(file: impl Read + Send + 'static) -> io::Result<(Box<dyn BufRead + Send>, Packing)> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let packing = Packing::of(file.fill_buf()?);
    let reader: Box<dyn BufRead + Send> = match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        Packing::Zstd => Box::new(BufReader::with_capacity(BUFFER, Frames::new(file)?)),
    };
    Ok((reader, packing))
}

/// All frames of a zstd file, one after the other.
struct Frames<R: BufRead>(Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>);

impl<R: BufRead> Frames<R> {
    fn new(file: R) -> io::Result<Self> {
        let decoder = StreamingDecoder::new(file).map_err(io::Error::other)?;
        Ok(Self(Some(decoder)))
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.0 else {
                return Ok(0);
            };
            let read = decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            // The end of a frame; another one may follow.
            let Some(done) = self.0.take() else {
                return Ok(0);
            };
            let mut file = done.into_inner();
            if !file.fill_buf()?.is_empty() {
                *self = Self::new(file)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: Vec<u8>) -> (io::Result<String>, Packing) {
        let (mut reader, packing) = open(Cursor::new(bytes)).unwrap();
        let mut text = String::new();
        (reader.read_to_string(&mut text).map(|_| text), packing)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_are_unpacked_whatever_they_are_called() {
        let zstd = |text: &str| compress_to_vec(text.as_bytes(), CompressionLevel::Fastest);
        for (packed, packing) in [
            (b"a\nb".to_vec(), Packing::Plain),
            ([gzip("a\n"), gzip("b")].concat(), Packing::Gzip),
            ([zstd("a\n"), zstd("b")].concat(), Packing::Zstd),
        ] {
            let (text, found) = read(packed);
            assert_eq!((text.unwrap().as_str(), found), ("a\nb", packing));
        }
        assert_eq!(read(Vec::new()).0.unwrap(), "");
    }

    #[test]
    fn a_file_that_is_cut_off_is_no_whole_log() {
        let mut packed = gzip(&"abc\n".repeat(10_000));
        packed.truncate(packed.len() / 2);
        assert!(read(packed).0.is_err());
    }
}
