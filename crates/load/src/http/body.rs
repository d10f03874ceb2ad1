//! Compression of bodies.

use std::io::{self, Read, Write};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Deflate,
}

impl Encoding {
    /// The encoding of this name; names are those of HTTP's `Content-Encoding`.
    ///
    /// # Errors
    ///
    /// An encoding that is not supported, by name.
    pub fn named(name: &str) -> Result<Option<Self>, String> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => Err(format!(
                "compression {other} is not supported; gzip and deflate are"
            )),
        }
    }

    /// Its name in HTTP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Compresses a body.
///
/// # Errors
///
/// None in practice: memory takes every byte.
pub fn compress(encoding: Encoding, body: &[u8]) -> io::Result<Vec<u8>> {
    let level = flate2::Compression::default();
    match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body)?;
            encoder.finish()
        }
        Encoding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body)?;
            encoder.finish()
        }
    }
}

/// Restores a body.
///
/// # Errors
///
/// The bytes are not what the encoding says.
pub fn decompress(encoding: Encoding, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::with_capacity(body.len() * 3);
    match encoding {
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut whole)?,
        Encoding::Deflate => flate2::read::ZlibDecoder::new(body).read_to_end(&mut whole)?,
    };
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_restored() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let small = compress(encoding, &[b'a'; 5000]).unwrap();
            assert!(small.len() < 100);
            assert_eq!(decompress(encoding, &small).unwrap(), [b'a'; 5000]);
            assert!(decompress(encoding, b"nonsense").is_err());
        }
        assert!(Encoding::named("br").unwrap_err().contains("br"));
    }
}
