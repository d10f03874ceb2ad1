//! Texts, bytes, digests.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rquickjs::{Ctx, Result, Value};
use sha2::Digest;
use springtide_machinery::hex::hexadecimal;

use super::values::{self, Arguments};
use crate::collation;

pub(super) fn call<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    arguments: &Arguments<'_, 'js>,
) -> Result<Value<'js>> {
    match name {
        "text.encode" => values::buffer(ctx, arguments.text(0)?.into_bytes()),
        "text.compare" => {
            let order = collation::compare(&arguments.text(0)?, &arguments.text(1)?);
            values::into(ctx, order as i32)
        }
        "text.decode" => values::into(
            ctx,
            String::from_utf8_lossy(&arguments.bytes(0)?).into_owned(),
        ),
        "bytes" => values::buffer(ctx, arguments.bytes(0)?),
        "bytes.join" => {
            let parts = arguments
                .get(0)
                .and_then(Value::as_array)
                .ok_or_else(|| values::throw(ctx, "a list of parts is expected"))?;
            let mut whole = Vec::new();
            for part in parts.iter::<Value>() {
                whole.extend(values::bytes(ctx, &part?)?);
            }
            values::buffer(ctx, whole)
        }
        "hex" => values::into(ctx, hexadecimal(&arguments.bytes(0)?)),
        "base64.encode" => {
            let bytes = arguments.bytes(0)?;
            let text = match arguments.text(1)?.as_str() {
                "rawstd" => STANDARD_NO_PAD.encode(bytes),
                "url" => URL_SAFE.encode(bytes),
                "rawurl" => URL_SAFE_NO_PAD.encode(bytes),
                _ => STANDARD.encode(bytes),
            };
            values::into(ctx, text)
        }
        "base64.decode" => {
            let text = arguments.text(0)?;
            // As in k6, an unknown name means the standard alphabet with padding.
            let decoded = match arguments.text(1)?.as_str() {
                "rawstd" => STANDARD_NO_PAD.decode(text),
                "url" => URL_SAFE.decode(text),
                "rawurl" => URL_SAFE_NO_PAD.decode(text),
                _ => STANDARD.decode(text),
            };
            let bytes = decoded
                .map_err(|error| values::throw(ctx, &format!("illegal base64 data: {error}")))?;
            if arguments.truth(2) {
                values::into(ctx, String::from_utf8_lossy(&bytes).into_owned())
            } else {
                values::buffer(ctx, bytes)
            }
        }
        "hash" => {
            let algorithm = arguments.text(0)?;
            let data = arguments.bytes(1)?;
            let digest = match arguments.get(2) {
                None => digest(&algorithm, &data),
                Some(key) => keyed(&algorithm, &values::bytes(ctx, key)?, &data),
            };
            let digest = digest
                .ok_or_else(|| values::throw(ctx, &format!("invalid algorithm: {algorithm}")))?;
            values::buffer(ctx, digest)
        }
        other => Err(values::throw(
            ctx,
            &format!("{other} is no call of the host"),
        )),
    }
}

fn digest(algorithm: &str, data: &[u8]) -> Option<Vec<u8>> {
    Some(match algorithm {
        "md4" => md4::Md4::digest(data).to_vec(),
        "md5" => md5::Md5::digest(data).to_vec(),
        "sha1" => sha1::Sha1::digest(data).to_vec(),
        "sha256" => sha2::Sha256::digest(data).to_vec(),
        "sha384" => sha2::Sha384::digest(data).to_vec(),
        "sha512" => sha2::Sha512::digest(data).to_vec(),
        "sha512_224" => sha2::Sha512_224::digest(data).to_vec(),
        "sha512_256" => sha2::Sha512_256::digest(data).to_vec(),
        "ripemd160" => ripemd::Ripemd160::digest(data).to_vec(),
        _ => return None,
    })
}

fn keyed(algorithm: &str, key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    macro_rules! hmac {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).ok()?;
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }};
    }
    Some(match algorithm {
        "md4" => hmac!(md4::Md4),
        "md5" => hmac!(md5::Md5),
        "sha1" => hmac!(sha1::Sha1),
        "sha256" => hmac!(sha2::Sha256),
        "sha384" => hmac!(sha2::Sha384),
        "sha512" => hmac!(sha2::Sha512),
        "sha512_224" => hmac!(sha2::Sha512_224),
        "sha512_256" => hmac!(sha2::Sha512_256),
        "ripemd160" => hmac!(ripemd::Ripemd160),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        for (algorithm, expected) in [
            ("md4", "a448017aaf21d8525fc10ae87aa6729d"),
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "sha256",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            ("ripemd160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
            (
                "sha512_256",
                "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
            ),
        ] {
            assert_eq!(
                hexadecimal(&digest(algorithm, b"abc").unwrap()),
                expected,
                "{algorithm}"
            );
        }
        assert_eq!(
            hexadecimal(&keyed("md5", b"Jefe", b"what do ya want for nothing?").unwrap()),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        assert_eq!(digest("sha3", b""), None);
    }
}
