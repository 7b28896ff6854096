//! Ids of our own, in place of those of either side.
//!
//! A request goes to a server under a number that this server never sees again, and a server's request to the endpoint
//! under a string that no endpoint uses. So late, repeated and invented answers can be told from right ones.

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

/// Our id in an answer. Some servers make a string or a float of a number.
pub(super) fn flight_id(token: &[u8]) -> Option<u64> {
    let token = token.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")).unwrap_or(token);
    number(token.strip_suffix(b".0").unwrap_or(token))
}

/// The number, if `digits` are decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let append = |number: u64, byte| number.checked_mul(10)?.checked_add(digit(byte)?);
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, append))?
}

/// The id under which a server's request goes to the endpoint: a string, because an endpoint's own ids are often small numbers.
pub(super) fn asked_token(n: u64) -> String {
    format!("\"mcp-pipe-{n}\"")
}

pub(super) fn asked_id(token: &[u8]) -> Option<u64> {
    number(token.strip_prefix(b"\"mcp-pipe-")?.strip_suffix(b"\"")?)
}
