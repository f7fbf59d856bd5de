//! One text for one meaning, and its fingerprint.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The SHA-256 of a value's canonical form (compact JSON, fields in declaration order), in
/// hexadecimal. Two configurations that mean the same have the same one, whatever their files look
/// like; two that differ anywhere do not.
pub fn sha256(value: &impl Serialize) -> String {
    // Plain data without maps cannot fail to serialise.
    let text = serde_json::to_vec(value).unwrap_or_default();
    hex(&Sha256::digest(text))
}

/// The SHA-256 of several files one after the other, each preceded by its length, in hexadecimal.
pub fn sha256_of_files<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for content in contents {
        hasher.update((content.len() as u64).to_be_bytes());
        hasher.update(content);
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
