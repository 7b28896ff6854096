//! What the head of a reply means for what was asked, and where that is not enough the beginning of its body. Pure.

use crate::error::FaultCode;

/// What is asked of a remote server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// `initialize`, by which a conversation begins.
    Initialize,
    /// Any other request.
    Request,
    /// A message that is not answered: a notification, or our answer to the server's own request.
    Message,
    /// A stream of what the server says by itself.
    Stream,
    /// The rest of an answer whose stream was cut.
    Rest,
    /// The end of the session.
    End,
}

/// What the body of a reply is, by its content type (RFC 9110 section 8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Events,
    /// A page for people.
    Page,
    /// Something else, or nothing is said: it may be JSON all the same.
    Unknown,
}

impl Media {
    pub(super) fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Media::Json,
            "text/event-stream" => Media::Events,
            "text/html" | "application/xhtml+xml" => Media::Page,
            _ => Media::Unknown,
        }
    }
}

/// What follows from the head of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// What was asked for comes in the body.
    Body(Media),
    /// The server has taken what it was sent, and the body means nothing.
    Taken,
    /// The address is another one.
    Redirect,
    /// The server does not do what was asked. Its body may say why.
    Refused,
}

impl Head {
    pub(super) fn of(asked: Asked, status: u16, media: Media) -> Self {
        match (asked, status) {
            (_, 307 | 308) => Head::Redirect,
            (Asked::Message | Asked::End, 200..300) => Head::Taken,
            (Asked::Stream | Asked::Rest, 200) if media == Media::Events => Head::Body(Media::Events),
            (Asked::Initialize | Asked::Request, 202 | 204) => Head::Taken,
            (Asked::Initialize | Asked::Request, 200..300) if media != Media::Page => Head::Body(media),
            (Asked::Initialize | Asked::Request | Asked::Message | Asked::Stream | Asked::Rest | Asked::End, _) => {
                Head::Refused
            }
        }
    }
}

/// Whether a refusal says that the session is over in which the request was sent (MCP, basic/transports, session management): by 404,
/// or by 400 with words about it.
pub(super) fn ends_session(status: u16, text: &str) -> bool {
    status == 404 || (status == 400 && text.to_ascii_lowercase().contains("session"))
}

/// Whether a server that refuses `initialize` so may speak the older transport. Nothing else is evidence of that: not 401, 403, 429,
/// nor a fault of the server.
pub(super) fn may_be_sse(status: u16) -> bool {
    matches!(status, 400 | 404 | 405 | 406 | 415)
}

/// Whether a server asks for the same again, later.
pub(super) fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// What kind of fault a refusal is.
pub(super) fn fault(status: u16) -> FaultCode {
    match status {
        401 | 403 => FaultCode::RemoteUnauthorized,
        200..300 => FaultCode::RemoteNotMcp,
        _ if is_busy(status) => FaultCode::RemoteBusy,
        _ => FaultCode::RemoteHttp,
    }
}

/// What a status means and what to do, behind `answered HTTP nnn`.
pub(super) fn advice(status: u16) -> &'static str {
    match status {
        401 => {
            ": it wants to know who asks; write \"headers\": {\"Authorization\": \"Bearer ${TOKEN}\"} in its entry, or correct what stands \
             there"
        }
        403 => {
            ": it knows who asks and does not let them in, or does not answer to this host name; check the headers and the host in its \
             entry"
        }
        404 | 410 => ": there is no MCP server at this path; check the url to the last slash",
        405 => ": it takes no such requests at this path; check the url to the last slash, and the type",
        406 | 415 => ": it takes no MCP as it is spoken here; check the url, and the type",
        407 => ": a proxy on the way wants credentials; put them into the proxy's URL",
        413 => ": the request is too large for it",
        421 => ": it does not answer to this host name; use the name in the url that it is configured for",
        429 | 503 => ": it takes no more requests now",
        408 | 425 => ": it wants the same again, a bit later",
        501 => ": it takes no POST there, as a server of plain files does; check the url to the last slash",
        500.. => ": the server, or a proxy before it, is in trouble; its own log says more",
        200..=299 => ": an answer, but none of MCP; check the path in the url",
        300..=399 => {
            ": a redirect that is not followed, as the request would become another one; put the address where it leads into the url"
        }
        _ => ": it does not take the request",
    }
}

/// The same where a server was sent nothing that tells who asks.
pub(super) fn advice_to_nobody(status: u16) -> Option<&'static str> {
    let advice = ": nothing tells it who asks, or it does not answer to this host name; write \"auth\" or \"headers\" in its entry, or check \
                  the host";
    (status == 403).then_some(advice)
}

/// The same of a refused stream of the older transport, where the type of the entry asks for one: most servers speak the newer one.
pub(super) fn advice_on_sse(status: u16) -> Option<&'static str> {
    let advice = ": it opens no stream of events there; if it speaks Streamable HTTP, write \"type\": \"http\", else check the url to the \
                  last slash";
    // 404 says as much as there is to know: nothing is at this path.
    matches!(status, 400 | 405 | 406 | 415 | 501).then_some(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_told_by_their_essence() {
        for (text, want) in [
            (Some("application/json"), Media::Json),
            (Some("Application/JSON; charset=utf-8"), Media::Json),
            (Some("text/event-stream;charset=UTF-8"), Media::Events),
            (Some(" text/html "), Media::Page),
            (Some("text/plain"), Media::Unknown),
            (Some(""), Media::Unknown),
            (None, Media::Unknown),
        ] {
            assert_eq!(Media::of(text), want, "{text:?}");
        }
    }

    #[test]
    fn a_head_means_what_the_revisions_and_real_servers_mean_by_it() {
        use Asked::{End, Initialize, Message, Request, Rest, Stream};
        let (json, events) = (Head::Body(Media::Json), Head::Body(Media::Events));
        for (asked, status, media, want) in [
            (Initialize, 200, Media::Json, json),
            (Initialize, 200, Media::Events, events),
            (Initialize, 200, Media::Page, Head::Refused),
            (Initialize, 405, Media::Json, Head::Refused),
            (Request, 200, Media::Json, json),
            (Request, 201, Media::Events, events),
            (Request, 200, Media::Unknown, Head::Body(Media::Unknown)),
            (Request, 202, Media::Unknown, Head::Taken),
            (Request, 500, Media::Json, Head::Refused),
            (Request, 307, Media::Page, Head::Redirect),
            (Request, 301, Media::Page, Head::Refused),
            // Whatever servers put there.
            (Message, 202, Media::Unknown, Head::Taken),
            (Message, 204, Media::Unknown, Head::Taken),
            (Message, 200, Media::Page, Head::Taken),
            (Message, 200, Media::Json, Head::Taken),
            (Message, 404, Media::Json, Head::Refused),
            (Stream, 200, Media::Events, events),
            (Stream, 200, Media::Json, Head::Refused),
            (Stream, 405, Media::Unknown, Head::Refused),
            (Stream, 308, Media::Unknown, Head::Redirect),
            (Rest, 200, Media::Events, events),
            (Rest, 409, Media::Events, Head::Refused),
            (End, 200, Media::Json, Head::Taken),
            (End, 405, Media::Unknown, Head::Refused),
        ] {
            assert_eq!(Head::of(asked, status, media), want, "{asked:?} {status} {media:?}");
        }
    }

    #[test]
    fn only_some_refusals_end_a_session_or_lead_to_the_older_transport() {
        assert!(
            ends_session(404, "") && ends_session(400, r#"{"error":{"message":"Bad Request: No valid Session ID"}}"#)
        );
        assert!(!ends_session(400, "Parse error") && !ends_session(500, "no session") && !ends_session(401, "session"));
        let all: Vec<u16> = (100..600).filter(|status| may_be_sse(*status)).collect();
        assert_eq!(all, [400, 404, 405, 406, 415]);
        assert_eq!((100..600).filter(|status| is_busy(*status)).count(), 2);
    }

    #[test]
    fn every_status_has_a_fault_and_words() {
        for status in 100..1000 {
            assert_eq!(advice_to_nobody(status).is_some(), status == 403, "{status}");
            assert!(advice(status).starts_with(": "), "{status}");
            let is_401 = matches!(status, 401 | 403);
            assert_eq!(fault(status) == FaultCode::RemoteUnauthorized, is_401, "{status}");
            let is_of_path = matches!(status, 404 | 405 | 410 | 501);
            assert_eq!(advice(status).contains("check the url to the last slash"), is_of_path, "{status}");
        }
    }
}
