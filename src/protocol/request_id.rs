//! Ids for requests of which the caller gave none. They have the form of a UUID of version 4, since some servers
//! refuse every other `x-request-id` with 400 (those with starlette-context do, the one of llama-cpp-python
//! among them).

/// What stands for a process in the ids of a run of the harness, which are the same every time: `graygate` in ASCII.
pub const HARNESS: u64 = u64::from_be_bytes(*b"graygate");

/// The id of the request with this number, of the process with this mark: of the number, 56 bits.
pub fn request_id(mark: u64, number: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:01x}{:02x}-{:012x}",
        mark >> 32,
        mark >> 16 & 0xffff,
        mark >> 4 & 0xfff,
        mark & 0xf,
        number >> 48 & 0xff,
        number & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_and_says_who_and_which() {
        let id = request_id(HARNESS, 255);
        assert_eq!(id, "67726179-6761-4746-8500-0000000000ff");
        let most = request_id(u64::MAX, u64::MAX);
        assert_eq!(most, "ffffffff-ffff-4fff-8fff-ffffffffffff");
        assert_ne!(request_id(1, 7), request_id(2, 7));
        assert_ne!(request_id(1, 7), request_id(1, 7 + (1 << 50)));
    }
}
