//! A question that passed authentication, with its parameters.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use zeroize::Zeroizing;

use super::asker::identify_asker;
use super::{
    Answered, Asker, DecisionRecord, Decisions, Filter, FilterError, Found, Place, SilentEdge,
    Start,
};
use crate::Api;
use crate::error::{ApiError, BAD_PARAMETER, Json};
use crate::form::{Form, Param};
use crate::links::Links;
use crate::page::{self, PageRequest, PageStart, Rows};
use crate::request::{form_body, is_from_another_site, page_key};
use sip_authz_directory::Kind;
use sip_authz_store::Store;

/// Form errors of this kind have the code 20001.
const KIND: Kind = Kind::Policy;

/// A question that passed authentication.
pub(super) struct Question {
    pub(super) decisions: Arc<dyn Decisions>,
    pub(super) asker: Asker,
    pub(super) form: Form,
    pub(super) links: Links,
    query: String,
    max_page_size: u32,
    /// The secret that seals the page tokens of the asker.
    pub(super) seal: [u8; 32],
}

impl Question {
    /// Authenticates a request and reads its parameters, from the body of a POST, else from the query.
    pub(super) async fn read<S: Store>(
        api: &Api<S>,
        params: &'static [Param],
        request: Request,
    ) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        // authentication comes first, so that the body of an unknown sender is never read
        let (asker, seal) = identify_asker(api, &parts).await?;
        // a question changes no records, so it may be asked while a file defines them
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_read && is_from_another_site(&parts.headers, &api.options) {
            return Err(ApiError::cross_origin());
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let text = if parts.method == Method::POST {
            form_body(&parts, body, &api.options).await?
        } else {
            Zeroizing::new(query.clone().into_bytes())
        };
        let decisions = api.options.decisions.as_ref().ok_or_else(absent)?;
        Ok(Self {
            decisions: Arc::clone(&decisions.0),
            asker,
            form: Form::read(KIND, params, &text)?,
            links: Links::of(&parts, &api.options),
            query,
            max_page_size: api.options.max_page_size,
            seal,
        })
    }

    /// The filter that the parameters name.
    pub(super) fn filter(&self) -> Result<Filter, ApiError> {
        let mut filter = Filter::default();
        for parameter in Filter::PARAMETERS {
            if let Some(text) = self.form.text(parameter) {
                filter.set(parameter, text)?;
            }
        }
        Ok(filter)
    }

    /// The requested page. Its links keep `filter`, as query parameters.
    pub(super) fn page(&self, filter: String) -> Result<PageRequest, ApiError> {
        let key = page_key(self.seal, &self.links);
        let page = PageRequest::read(KIND, self.max_page_size, &self.query, key)?;
        Ok(page.with_filter(filter))
    }

    /// The start of a page.
    pub(super) fn start(page: &PageRequest) -> Start {
        let place = |(micros, sid)| Place { micros, sid: sip_authz::DecisionSid::from_bytes(sid) };
        match page.start() {
            PageStart::First => Start::Newest,
            // rows that come after one are older
            PageStart::After(position) => Start::Before(place(position)),
            PageStart::Before(position) => Start::After(place(position)),
        }
    }
}

/// The page with the rows of an answer, and the edges that did not answer.
pub(super) fn rows(
    page: PageRequest,
    start: Start,
    found: Found,
) -> (Rows<DecisionRecord>, Vec<SilentEdge>) {
    let position =
        |record: &DecisionRecord| record.place().map(|place| (place.micros, *place.sid.as_bytes()));
    let Answered { rows, silent } = found.answered;
    let (has_older, has_newer) = match start {
        Start::Newest => (found.has_more, false),
        Start::Before(_) => (found.has_more, true),
        Start::After(_) => (true, found.has_more),
    };
    let oldest = rows.iter().rev().find_map(position).filter(|_| has_older);
    let newest = rows.iter().find_map(position).filter(|_| has_newer);
    (page.with_rows(rows, oldest.map(PageStart::After), newest.map(PageStart::Before)), silent)
}

/// 404 for a decision or limit that is not there, or not the caller's.
pub(super) fn absent() -> ApiError {
    ApiError::not_found("no such decision is kept for this account")
}

/// A JSON response that no cache keeps, because it may name persons.
pub(super) fn answer(body: impl Serialize) -> Response {
    uncached(Json(body).into_response())
}

pub(super) fn uncached(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::bad(BAD_PARAMETER, error.to_string())
    }
}

/// The parameters of a page.
pub(super) const PAGE: &[Param] = page::PARAMS;
