//! Requests that end with an error page.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sip_authz_directory::DirectoryError;

use super::assets::{SCRIPT, STYLE};
use super::fields::query;

/// An error page, or the way to the login form. Rendered when the response leaves the router.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    title: &'static str,
    text: String,
    /// The address to go to instead of a page.
    to: Option<String>,
    /// The seconds until another attempt.
    retry: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into(), to: None, retry: None }
    }

    pub(crate) fn wrong_host() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "Wrong host",
            "The console does not answer under this host name. Use the IP address of the server, \
             `localhost`, or the host and port of --public-url.",
        )
    }

    pub(crate) fn other_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Request from another site",
            "The request came from a page of another origin, so nothing was done.",
        )
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "This address does not support the method of the request.",
        )
    }

    pub(crate) fn stale_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Form out of date",
            "The form belongs to another session, so nothing was done. Go back, reload the page, and send \
             the form again.",
        )
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", text)
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid input", text)
    }

    pub(crate) fn read_only() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "Read-only",
            "The records come from a configuration file (--config). Change the file, then reload it with \
             SIGHUP.",
        )
    }

    pub(crate) fn no_decisions() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "No decisions kept",
            "This program keeps no recent decisions. Start it with --recent to see them here.",
        )
    }

    /// The way to the login form, and from there to `next`.
    pub(crate) fn log_in(root: &str, next: &str) -> Self {
        let to = format!("{root}login{}", query(&[("next", next)]));
        Self { to: Some(to), ..Self::new(StatusCode::SEE_OTHER, "Log in", "") }
    }

    /// For the script: the session is over.
    pub(crate) fn logged_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Logged out", "The session has ended. Log in again.")
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry: Some(seconds), ..self }
    }

    /// The error in words.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the sender of a form can correct the error.
    pub(crate) fn is_of_input(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    /// A response that [`rendered`] completes.
    pub(crate) fn response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.response()
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotFound(kind) => Self::not_found(format!("There is no such {kind}.")),
            DirectoryError::Store(_) | DirectoryError::Corrupt(_) | DirectoryError::Random(_) => {
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The store does not answer",
                    "The records could not be read or written. Calls are decided by the records that were \
                 loaded last. The log of the program names the cause.",
                )
            }
            DirectoryError::Busy | DirectoryError::NotFollowed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Try again", format!("{error}."))
            }
            error => Self::bad(format!("{error}.")),
        }
    }
}

impl From<super::RandomError> for Problem {
    fn from(error: super::RandomError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Try again", format!("{error}."))
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    root: &'a str,
    style: String,
    script: String,
    problem: &'a Problem,
}

/// Renders the page of an attached [`Problem`].
pub(crate) fn rendered(mut response: Response, root: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    if let Some(to) = problem.to {
        return redirect(&to);
    }
    let page = ProblemPage { root, style: STYLE.link(), script: SCRIPT.link(), problem: &problem };
    let mut answer = (problem.status, html(&page)).into_response();
    // headers of the response without a page, such as Allow and Set-Cookie
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            answer.headers_mut().append(name, value.clone());
        }
    }
    if let Some(seconds) = problem.retry {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// A response with a page.
pub(crate) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        // writing to a string does not fail
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A redirect after a form, to a relative path.
pub(crate) fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::from_str(to) {
        Ok(to) => {
            response.headers_mut().insert(header::LOCATION, to);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
