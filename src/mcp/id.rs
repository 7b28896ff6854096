//! A numeric id of ours in what a server answers, however the server writes it. Pure.

/// Our id in an answer, by its value: some servers make a string or a float of a number (`"6"`, `6.0`, `6e0`). So do broken
/// answers, which may hold numbers that are none of JSON's (`06`, `+6`, `6.`, `6n`, `0x6`).
pub(crate) fn flight_id(token: &[u8]) -> Option<u64> {
    match token.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")) {
        Some(text) => number(text).or_else(|| whole_value(text)),
        None => number(token).or_else(|| whole_value(token)).or_else(|| script_number(token)),
    }
}

/// The value of a number as JavaScript has it and JSON hasn't.
#[cold]
fn script_number(token: &[u8]) -> Option<u64> {
    let Some(hex) = token.strip_prefix(b"0x").or_else(|| token.strip_prefix(b"0X")) else {
        return number(token.strip_suffix(b"n")?);
    };
    // The standard library would take a sign here.
    let hex = std::str::from_utf8(hex).ok().filter(|hex| !hex.starts_with('+'))?;
    u64::from_str_radix(hex, 16).ok()
}

/// The value of a decimal number with a fraction, an exponent or a sign, if the value is a whole number.
#[cold]
fn whole_value(token: &[u8]) -> Option<u64> {
    let token = token.strip_prefix(b"+").unwrap_or(token);
    let end = token.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(token.len());
    let exponent = match token.get(end + 1..) {
        Some(exponent) => std::str::from_utf8(exponent).ok()?.parse::<i64>().ok()?,
        None => 0,
    };
    let point = token[..end].iter().position(|byte| *byte == b'.').unwrap_or(end);
    let (whole, fraction) = (&token[..point], token[..end].get(point + 1..).unwrap_or_default());
    let digits = [whole, fraction].concat();
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    match number(&digits[..digits.len() - zeros]) {
        Some(number) => {
            let shift = exponent.checked_add(i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?)?;
            number.checked_mul(10_u64.checked_pow(u32::try_from(shift).ok()?)?)
        }
        // Nothing but zeros is zero, whatever the exponent.
        None => (zeros > 0 && zeros == digits.len()).then_some(0),
    }
}

/// The number, if `digits` are decimal digits and nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let append = |number: u64, byte| number.checked_mul(10)?.checked_add(digit(byte)?);
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, append))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_of_ours_is_known_by_its_value_however_it_is_written() {
        for (token, id) in [
            ("6", Some(6)),
            ("\"6\"", Some(6)),
            ("6.0", Some(6)),
            ("6.00", Some(6)),
            ("\"6.0\"", Some(6)),
            ("6e0", Some(6)),
            ("6E+0", Some(6)),
            ("0.6e1", Some(6)),
            ("60e-1", Some(6)),
            ("6000e-3", Some(6)),
            ("6e2", Some(600)),
            ("1.25e2", Some(125)),
            ("0", Some(0)),
            ("0.0e9999999999", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615.0", Some(u64::MAX)),
            // No numbers of JSON, but it is plain which is meant.
            ("06", Some(6)),
            ("+6", Some(6)),
            ("6.", Some(6)),
            ("6n", Some(6)),
            ("0x6", Some(6)),
            ("0X1f", Some(31)),
            // Not ours.
            ("6.5", None),
            ("65e-1", None),
            ("-6", None),
            ("-0", None),
            ("18446744073709551616", None),
            ("1e20", None),
            ("1e99999999999999999999", None),
            ("1e", None),
            ("e1", None),
            (".", None),
            ("", None),
            ("\"\"", None),
            ("6 6", None),
            ("six", None),
            (".6", None),
            ("\"6n\"", None),
            ("\"0x6\"", None),
            ("0x", None),
            ("0x+6", None),
            ("0x1ffffffffffffffff", None),
            ("n", None),
            ("6_0", None),
            ("null", None),
        ] {
            assert_eq!(flight_id(token.as_bytes()), id, "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_spelling_of_a_number_is_that_number(id in any::<u64>(), zeros in 0..9_usize, shift in 0..30_usize) {
            let digits = format!("{:0>40}", id);
            let (whole, fraction) = digits.split_at(digits.len() - shift);
            for token in [
                format!("{id}.{}", "0".repeat(zeros)),
                format!("{whole}.{fraction}{}e{shift}", "0".repeat(zeros)),
                format!("{id}{}E-{zeros}", "0".repeat(zeros)),
                format!("\"{}{id}\"", "0".repeat(zeros)),
            ] {
                prop_assert_eq!(flight_id(token.as_bytes()), Some(id), "{}", token);
            }
        }
    }
}
