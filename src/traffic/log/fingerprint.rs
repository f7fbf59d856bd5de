//! Names and contents of a log as 64 bits, the same on every machine.

use std::io::{self, Write};

use serde_json::Value;

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, step);
    }
}

impl Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The fingerprint of a name.
pub fn fingerprint(text: &str) -> u64 {
    let mut hash = Fnv::default();
    hash.take(text.as_bytes());
    hash.0
}

/// The fingerprint of a value as it is written.
pub fn fingerprint_of(value: &Value) -> u64 {
    let mut hash = Fnv::default();
    // It takes everything.
    let _ = serde_json::to_writer(&mut hash, value);
    hash.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fingerprints_are_those_of_the_published_table() {
        // http://www.isthe.com/chongo/src/fnv/test_fnv.c
        assert_eq!(fingerprint(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint("foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fingerprint_of(&json!([1])), fingerprint("[1]"));
    }
}
