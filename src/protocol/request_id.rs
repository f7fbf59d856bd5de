//! Ids for requests of which the caller gave none. They have the form of a UUID of version 4, since some servers
//! refuse every other `x-request-id` with 400 (those with starlette-context do, the one of llama-cpp-python
//! among them).

/// What stands for a process in the ids of a run of the harness, which are the same every time: `graygate` in ASCII.
pub const HARNESS: u64 = u64::from_be_bytes(*b"graygate");

/// Characters of an id, and of the part that is the same in all ids of one process.
const LENGTH: usize = 36;
const SAME: usize = 21;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The ids of one process. Every request of a gateway may need one, so they are written digit by digit.
#[derive(Clone, Copy, Debug)]
pub struct RequestIds([u8; LENGTH]);

impl RequestIds {
    /// The ids of the process with this mark.
    pub fn new(mark: u64) -> Self {
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-8{:01x}00-000000000000",
            mark >> 32,
            mark >> 16 & 0xffff,
            mark >> 4 & 0xfff,
            mark & 0xf,
        );
        let mut id = [b'0'; LENGTH];
        for (to, from) in id.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(id)
    }

    /// The id of the request with this number, in ASCII: of the number, 56 bits.
    pub fn id(&self, number: u64) -> [u8; LENGTH] {
        let mut id = self.0;
        let mut left = number;
        for digit in id[SAME..].iter_mut().rev().filter(|digit| **digit != b'-') {
            *digit = DIGITS[(left & 0xf) as usize];
            left >>= 4;
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(mark: u64, number: u64) -> String {
        String::from_utf8(RequestIds::new(mark).id(number).to_vec()).unwrap()
    }

    #[test]
    fn an_id_is_a_uuid_and_says_who_and_which() {
        assert_eq!(id(HARNESS, 255), "67726179-6761-4746-8500-0000000000ff");
        let most = id(u64::MAX, u64::MAX);
        assert_eq!(most, "ffffffff-ffff-4fff-8fff-ffffffffffff");
        assert_eq!(&id(0, 0xab_0000_0000_0001)[20..], "0ab-000000000001");
        assert_ne!(id(1, 7), id(2, 7));
        assert_ne!(id(1, 7), id(1, 7 + (1 << 50)));
    }
}
