//! Writes the response: JSON, or lines of text.

use http_body_util::Full as FullBody;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use sip_authz_decide::{Answer, Frame, Outcome, split};

/// The body of a response.
pub(super) type Full = FullBody<Bytes>;

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Text,
}

impl Form {
    /// The form that the Accept headers name first; JSON if they name neither.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let types = values.flat_map(|value| value.split(','));
        let mut forms = types.filter_map(|it| {
            let name = it.split(';').next().unwrap_or_default().trim();
            if name.eq_ignore_ascii_case("text/plain") {
                Some(Self::Text)
            } else if name.eq_ignore_ascii_case("application/json") {
                Some(Self::Json)
            } else {
                None
            }
        });
        forms.next().unwrap_or(Self::Json)
    }
}

/// The members of an answer, in the order in which they are written.
#[derive(Default, Serialize)]
struct Members<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phrase: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    header_lines: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_header: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_header_index: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmission: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The response with the answer in a frame. None if the frame is no answer, or cannot be written.
pub(super) fn answered(frame: &[u8], form: Form) -> Option<Response<Full>> {
    let (frame, _) = split(frame).ok()??;
    let Ok(Frame::Answer(answer)) = Frame::decode(frame) else { return None };
    let status = match answer.outcome {
        // nothing was decided: a script that looks at the HTTP status alone must not pass the request
        Outcome::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    Some(response(status, written(&Members::of(&answer)?, form)?, form))
}

/// The response with an error. The connection ends after it.
pub(super) fn error(status: StatusCode, error: &str, form: Form) -> Response<Full> {
    let error: String = error.chars().map(|it| if it.is_control() { '?' } else { it }).collect();
    let members = Members { outcome: "error", error: Some(&error), ..Members::default() };
    let body = written(&members, form).unwrap_or_default();
    let mut response = response(status, body, form);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn response(status: StatusCode, body: String, form: Form) -> Response<Full> {
    let kind = match form {
        Form::Json => "application/json",
        Form::Text => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<'a> Members<'a> {
    /// None for an outcome that this form does not know.
    fn of(answer: &Answer<'a>) -> Option<Self> {
        let outcome = match answer.outcome {
            Outcome::Accept => "accept",
            Outcome::Challenge => "challenge",
            Outcome::Reject => "reject",
            Outcome::Undecided => "undecided",
            Outcome::Overloaded => "overloaded",
            _ => return None,
        };
        Some(Self {
            outcome,
            status: answer.status,
            phrase: answer.phrase,
            headers: answer.header_lines().map(|line| line.trim_end_matches("\r\n")).collect(),
            header_lines: answer.header_lines().collect(),
            used_header: answer.used_header.map(|used| used.name),
            used_header_index: answer.used_header.map(|used| used.index),
            account: answer.account,
            target: answer.target,
            target_name: answer.target_name,
            user: answer.user,
            permissions: answer.permissions().collect(),
            retransmission: answer.is_retransmission.then_some(true),
            reason: answer.reason,
            cause: answer.cause,
            error: None,
        })
    }

    /// The names and values of the lines of text.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("outcome", self.outcome.to_owned())];
        let mut add = |name, value: Option<&str>| {
            lines.extend(value.map(|value| (name, value.to_owned())));
        };
        add("status", self.status.map(|it| it.to_string()).as_deref());
        add("phrase", self.phrase);
        self.headers.iter().for_each(|line| add("header", Some(line)));
        add("used_header", self.used_header);
        add("used_header_index", self.used_header_index.map(|it| it.to_string()).as_deref());
        add("account", self.account);
        add("target", self.target);
        add("target_name", self.target_name);
        add("user", self.user);
        self.permissions.iter().for_each(|it| add("permission", Some(it)));
        add("retransmission", self.retransmission.map(|_| "true"));
        add("reason", self.reason);
        add("cause", self.cause);
        add("error", self.error);
        lines
    }
}

/// The body of a response. None for a text with a value that would need more than one line.
fn written(members: &Members<'_>, form: Form) -> Option<String> {
    match form {
        Form::Json => {
            let mut text = serde_json::to_string(members).ok()?;
            text.push('\n');
            Some(text)
        }
        Form::Text => {
            let mut text = String::new();
            for (name, value) in members.lines() {
                if value.contains(char::is_control) {
                    return None;
                }
                text.extend([name, ": ", &value, "\n"]);
            }
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use sip_authz_decide::AnswerWriter;

    use super::*;

    fn text_of(response: &Response<Full>) -> String {
        use hyper::body::Body as _;
        let mut body = response.body().clone();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut body).poll_frame(&mut context) {
            std::task::Poll::Ready(Some(Ok(frame))) => {
                String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(
        write: impl FnOnce(AnswerWriter<'_>) -> AnswerWriter<'_>,
        outcome: Outcome,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(AnswerWriter::new(&mut bytes, 1, outcome)).end().unwrap();
        bytes
    }

    #[test]
    fn each_field_is_written_in_both_forms() {
        let frame = answer(
            |it| {
                it.status(407)
                    .phrase("P")
                    .header_line("A", "1")
                    .header_line("B", "\"2\"")
                    .used_header(3, "Authorization")
                    .account("AC1")
                    .target("SD1")
                    .target_name("a.example")
                    .user("al\"ice")
                    .permission("x")
                    .permission("y")
                    .retransmission()
                    .reason("r")
                    .cause("c")
            },
            Outcome::Challenge,
        );
        let json = answered(&frame, Form::Json).unwrap();
        assert_eq!(json.status(), StatusCode::OK);
        assert_eq!(
            text_of(&json),
            concat!(
                r#"{"outcome":"challenge","status":407,"phrase":"P","headers":["A: 1","B: \"2\""],"#,
                r#""header_lines":"A: 1\r\nB: \"2\"\r\n","used_header":"Authorization","#,
                r#""used_header_index":3,"account":"AC1","target":"SD1","target_name":"a.example","#,
                r#""user":"al\"ice","permissions":["x","y"],"retransmission":true,"reason":"r","#,
                r#""cause":"c"}"#,
                "\n"
            )
        );
        assert_eq!(
            text_of(&answered(&frame, Form::Text).unwrap()),
            "outcome: challenge\nstatus: 407\nphrase: P\nheader: A: 1\nheader: B: \"2\"\n\
             used_header: Authorization\nused_header_index: 3\naccount: AC1\ntarget: SD1\n\
             target_name: a.example\nuser: al\"ice\npermission: x\npermission: y\nretransmission: true\n\
             reason: r\ncause: c\n"
        );
    }

    #[test]
    fn only_a_decision_is_200_and_only_an_accept_says_so() {
        for (outcome, name, status) in [
            (Outcome::Accept, "accept", 200),
            (Outcome::Challenge, "challenge", 200),
            (Outcome::Reject, "reject", 200),
            (Outcome::Undecided, "undecided", 200),
            (Outcome::Overloaded, "overloaded", 503),
        ] {
            let response = answered(&answer(|it| it, outcome), Form::Text).unwrap();
            assert_eq!(response.status().as_u16(), status, "{name}");
            assert_eq!(text_of(&response), format!("outcome: {name}\n"));
        }
        let refused = error(StatusCode::BAD_REQUEST, "a\noutcome: accept", Form::Text);
        assert_eq!(text_of(&refused), "outcome: error\nerror: a?outcome: accept\n");
        assert_eq!(refused.headers()[CONNECTION], "close");
    }

    #[test]
    fn a_text_with_a_value_of_two_lines_is_no_answer() {
        let frame = answer(|it| it.user("a\noutcome: accept"), Outcome::Reject);
        assert!(answered(&frame, Form::Text).is_none());
        assert!(answered(&frame, Form::Json).is_some());
        assert!(answered(b"", Form::Json).is_none());
        assert!(answered(&[0, 0, 0, 1, 4], Form::Json).is_none());
    }

    #[test]
    fn the_first_known_type_of_accept_counts() {
        for (accept, expected) in [
            (&[][..], Form::Json),
            (&["*/*"], Form::Json),
            (&["text/plain"], Form::Text),
            (&["Text/Plain; charset=utf-8"], Form::Text),
            (&["text/html, text/plain"], Form::Text),
            (&["application/json", "text/plain"], Form::Json),
            (&["text/plainer"], Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(Form::of(&headers), expected, "{accept:?}");
        }
    }
}
