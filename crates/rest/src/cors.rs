//! Cross-origin requests from browsers, for configured origins only.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE, OPTIONS");
const ALLOWED: HeaderValue =
    HeaderValue::from_static("Accept, Authorization, Content-Type, If-Match, If-None-Match");
const EXPOSED: HeaderValue = HeaderValue::from_static("ETag");
const CREDENTIALS: HeaderValue = HeaderValue::from_static("true");

/// Answers preflight requests, and adds the CORS headers to responses for these origins.
pub(super) fn layer(router: Router, origins: Vec<String>) -> Router {
    if origins.is_empty() {
        return router;
    }
    let origins = Arc::new(origins);
    router.layer(from_fn(move |request, next| answer(Arc::clone(&origins), request, next)))
}

async fn answer(origins: Arc<Vec<String>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let origin = origin.filter(|origin| origins.iter().any(|known| known.as_bytes() == origin));
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let preflight = request.method() == Method::OPTIONS && asks;
    let mut response = match &origin {
        Some(_) if preflight => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    // a cache must not serve the response for one origin to another
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, CREDENTIALS);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
