//! The table of operations. Registering an operation here adds its route and its OpenAPI description.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

use super::Api;
use super::decisions;
use super::error::{ApiError, Json};
use super::fleet;
use super::form::Param;
use super::openapi::Document;
use super::operation::{Access, Operation, Verb};
use super::page::{PARAMS, Rows};
use super::request::ApiRequest;
use super::wait::Wait;
use sip_authz_directory::Kind;
use sip_authz_store::Store;

/// All operations.
pub(super) struct Routes<S: Store> {
    router: Router<Arc<Api<S>>>,
    document: Document,
}

impl<S: Store> Routes<S> {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), document: Document::new() }
    }

    /// Starts the operations of a path on resources of a kind. Path parameters are in braces.
    pub(super) fn at(&mut self, path: impl Into<String>, kind: Kind) -> ResourceRoutes<'_, S> {
        ResourceRoutes { routes: self, path: path.into(), kind, access: Access::Account }
    }

    /// Returns the router and its OpenAPI document.
    pub(super) fn finish(mut self, api: &Arc<Api<S>>) -> (Router, OpenApi) {
        self.document.add_bulk();
        fleet::describe(&mut self.document);
        if api.options.decisions.is_some() {
            decisions::describe(&mut self.document);
        }
        (self.router.with_state(Arc::clone(api)), self.document.finish())
    }
}

/// The JSON body of a response, with its schema.
pub(super) trait ResponseBody: Serialize + ToSchema + 'static {}

impl<A: Serialize + ToSchema + 'static> ResponseBody for A {}

/// A function that handles the requests of an operation.
pub(super) trait Handler<S: Store, A>: Clone + Send + Sync + 'static {
    fn handle(self, request: ApiRequest<S>) -> impl Future<Output = Result<A, ApiError>> + Send;
}

impl<S, A, F, Fut> Handler<S, A> for F
where
    S: Store,
    F: Fn(ApiRequest<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<A, ApiError>> + Send,
{
    fn handle(self, request: ApiRequest<S>) -> impl Future<Output = Result<A, ApiError>> + Send {
        self(request)
    }
}

/// The operations of a path.
pub(super) struct ResourceRoutes<'r, S: Store> {
    routes: &'r mut Routes<S>,
    path: String,
    kind: Kind,
    access: Access,
}

impl<S: Store> ResourceRoutes<'_, S> {
    /// Restricts the operations that follow to the admin.
    pub(super) fn admin(self) -> Self {
        Self { access: Access::Admin, ..self }
    }

    pub(super) fn create<A: ResponseBody>(
        self,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        self.one(Verb::Create, params, handler)
    }

    pub(super) fn fetch<A: ResponseBody>(self, handler: impl Handler<S, A>) -> Self {
        self.one(Verb::Fetch, &[], handler)
    }

    pub(super) fn update<A: ResponseBody>(
        self,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        self.one(Verb::Update, params, handler)
    }

    pub(super) fn delete(self, handler: impl Handler<S, ()>) -> Self {
        let operation = self.operation(Verb::Delete, &[]);
        self.routes.document.add::<()>(&self.path, &operation);
        self.route(operation, move |request: ApiRequest<S>| {
            let done = handler.clone().handle(request);
            async move {
                done.await?;
                Ok(operation.verb.status().into_response())
            }
        })
    }

    /// Adds a listing, with its rows under `key`.
    pub(super) fn list<A: ResponseBody>(
        self,
        key: &'static str,
        handler: impl Handler<S, Rows<A>>,
    ) -> Self {
        let operation = self.operation(Verb::List(key), PARAMS);
        self.routes.document.add::<A>(&self.path, &operation);
        let with_uris = operation.has_uris;
        self.route(operation, move |request: ApiRequest<S>| {
            let (links, rows) = (request.links.clone(), handler.clone().handle(request));
            async move {
                let rows = rows.await?;
                let envelope = if with_uris {
                    rows.with_uris(key, &links)
                } else {
                    rows.with_meta(key, &links)
                };
                Ok((StatusCode::OK, Json(envelope)).into_response())
            }
        })
    }

    /// Adds an operation whose response is one resource.
    fn one<A: ResponseBody>(
        self,
        verb: Verb,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        let operation = self.operation(verb, params);
        self.routes.document.add::<A>(&self.path, &operation);
        self.route(operation, move |request: ApiRequest<S>| {
            let body = handler.clone().handle(request);
            async move { Ok((verb.status(), Json(body.await?)).into_response()) }
        })
    }

    fn operation(&self, verb: Verb, params: &'static [Param]) -> Operation {
        Operation {
            verb,
            kind: self.kind,
            access: self.access,
            params,
            suffixed: self.path.ends_with("}.json"),
            has_uris: self.path.starts_with("/2010"),
        }
    }

    fn route(self, operation: Operation, handler: impl Handler<S, Response>) -> Self {
        let endpoint = async move |State(api): State<Arc<Api<S>>>, request: Request| {
            let writes = !matches!(operation.verb, Verb::Fetch | Verb::List(_));
            let query = request.uri().query().filter(|_| writes).unwrap_or_default().to_owned();
            let request = ApiRequest::read(&api, &operation, request).await?;
            let wait = Wait::read(&query)?;
            let since = api.directory.incarnation();
            let response = handler.handle(request).await?;
            Ok::<_, ApiError>(wait.then(&api.directory, since, response).await)
        };
        // axum matches whole segments, so `ApiRequest` removes the suffix from the parameter
        let path = match self.path.strip_suffix("}.json") {
            Some(path) => format!("{path}}}"),
            None => self.path.clone(),
        };
        let router = std::mem::take(&mut self.routes.router);
        self.routes.router = router.route(&path, on(operation.verb.filter(), endpoint));
        self
    }
}
