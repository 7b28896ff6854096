//! The error of an answer (JSON-RPC 2.0 section 5.1), read whatever is odd about it.

use super::envelope::without_controls;
use super::object;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code; 0 if there is none that fits into 32 bits.
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Failure {
    /// Reads the error of an answer.
    pub(crate) fn read(answer: &[u8]) -> Self {
        let answer = without_controls(answer);
        let answer = String::from_utf8_lossy(&answer);
        let error = object::find(&answer, &["error"]).unwrap_or_default();
        let code = object::find(error, &["code"]).map_or(0, code);
        // Some servers have a text where the object belongs.
        let message = object::find(error, &["message"]).unwrap_or(error);
        let message = object::lossy_text_of(message).filter(|message| !message.trim().is_empty());
        Failure { code, message: message.map_or_else(|| "it gave no reason".to_owned(), Into::into) }
    }
}

/// The code, also where it is a text or a float.
fn code(token: &str) -> i32 {
    let number = token.trim_matches('"').parse::<f64>().unwrap_or_default();
    let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "it fits")]
    if fits { number as i32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_whatever_is_odd_about_it() {
        for (error, code, message) in [
            (r#"{"code":-32601,"message":"no"}"#, -32601, "no"),
            (r#"{"code":-32601,"message":"a\ud83d","data":{"\ud83d":1e999}}"#, -32601, "a\u{fffd}"),
            (r#"{"message":"no","code":"-32601"}"#, -32601, "no"),
            (r#"{"code":-32601.0,"code":-32602.0,"message":5}"#, -32602, "it gave no reason"),
            (r#"{"code":1e999,"message":"a"}"#, 0, "a"),
            (r#"{"code":3000000000,"message":" "}"#, 0, "it gave no reason"),
            (r#"{"code":null}"#, 0, "it gave no reason"),
            ("\"database is locked\"", 0, "database is locked"),
            ("[]", 0, "it gave no reason"),
            ("{\"message\":\"a\tb\"}", 0, "a b"),
        ] {
            let answer = format!(r#"{{"id":1,"\ud83d":0,"error":{error}}}"#);
            assert_eq!(Failure::read(answer.as_bytes()), Failure { code, message: message.to_owned() }, "{error}");
        }
        assert_eq!(Failure::read(b"{}").code, 0);
    }
}
