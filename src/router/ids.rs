//! Ids of our own, in place of those of either side.
//!
//! A request goes to a server under a number that this server never sees again, and a server's request to the endpoint
//! under a string that no endpoint uses. So late, repeated and invented answers can be told from right ones.

use crate::mcp::id::number;

/// `n` in decimal, without an allocation.
pub(super) fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

/// The id under which a server's request goes to the endpoint: a string, because an endpoint's own ids are often small numbers.
pub(super) fn asked_token(n: u64) -> String {
    format!("\"mcp-pipe-{n}\"")
}

pub(super) fn asked_id(token: &[u8]) -> Option<u64> {
    number(token.strip_prefix(b"\"mcp-pipe-")?.strip_suffix(b"\"")?)
}
