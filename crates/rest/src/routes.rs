//! The table of operations. What is registered here is routed and documented, and nothing else is.

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
use super::call::Call;
use super::error::{Json, Refusal};
use super::form::Param;
use super::openapi::Document;
use super::operation::{Access, Operation, Verb};
use super::page::{PARAMS, Rows};
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

    /// The operations of a path on resources of a kind. Places stand in braces.
    pub(super) fn at(&mut self, path: impl Into<String>, kind: Kind) -> At<'_, S> {
        At { routes: self, path: path.into(), kind, access: Access::Account }
    }

    /// What answers, and what describes it.
    pub(super) fn finish(mut self, api: &Arc<Api<S>>) -> (Router, OpenApi) {
        self.document.add_bulk();
        (self.router.with_state(Arc::clone(api)), self.document.finish())
    }
}

/// What an operation is answered with.
pub(super) trait Answer: Serialize + ToSchema + 'static {}

impl<A: Serialize + ToSchema + 'static> Answer for A {}

/// What answers calls of an operation.
pub(super) trait Handler<S: Store, A>: Clone + Send + Sync + 'static {
    fn answer(self, call: Call<S>) -> impl Future<Output = Result<A, Refusal>> + Send;
}

impl<S, A, F, Fut> Handler<S, A> for F
where
    S: Store,
    F: Fn(Call<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<A, Refusal>> + Send,
{
    fn answer(self, call: Call<S>) -> impl Future<Output = Result<A, Refusal>> + Send {
        self(call)
    }
}

/// The operations of a path.
pub(super) struct At<'r, S: Store> {
    routes: &'r mut Routes<S>,
    path: String,
    kind: Kind,
    access: Access,
}

impl<S: Store> At<'_, S> {
    /// What follows is for the admin alone.
    pub(super) fn admin(self) -> Self {
        Self { access: Access::Admin, ..self }
    }

    pub(super) fn create<A: Answer>(
        self,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        self.one(Verb::Create, params, handler)
    }

    pub(super) fn fetch<A: Answer>(self, handler: impl Handler<S, A>) -> Self {
        self.one(Verb::Fetch, &[], handler)
    }

    pub(super) fn update<A: Answer>(
        self,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        self.one(Verb::Update, params, handler)
    }

    pub(super) fn delete(self, handler: impl Handler<S, ()>) -> Self {
        let operation = self.operation(Verb::Delete, &[]);
        self.routes.document.add::<()>(&self.path, &operation);
        self.route(operation, move |call: Call<S>| {
            let done = handler.clone().answer(call);
            async move {
                done.await?;
                Ok(operation.verb.status().into_response())
            }
        })
    }

    /// A listing whose rows stand under `key`.
    pub(super) fn list<A: Answer>(
        self,
        key: &'static str,
        handler: impl Handler<S, Rows<A>>,
    ) -> Self {
        let operation = self.operation(Verb::List(key), PARAMS);
        self.routes.document.add::<A>(&self.path, &operation);
        let with_uris = operation.has_uris;
        self.route(operation, move |call: Call<S>| {
            let (links, rows) = (call.links.clone(), handler.clone().answer(call));
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

    /// An operation that is answered with one resource.
    fn one<A: Answer>(
        self,
        verb: Verb,
        params: &'static [Param],
        handler: impl Handler<S, A>,
    ) -> Self {
        let operation = self.operation(verb, params);
        self.routes.document.add::<A>(&self.path, &operation);
        self.route(operation, move |call: Call<S>| {
            let answer = handler.clone().answer(call);
            async move { Ok((verb.status(), Json(answer.await?)).into_response()) }
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
            let call = Call::read(&api, &operation, request).await?;
            let wait = Wait::read(&query)?;
            let answer = handler.answer(call).await?;
            Ok::<_, Refusal>(wait.then(&api.directory, answer).await)
        };
        // a place is a whole segment for the router; the suffix is taken off in `Call`
        let path = match self.path.strip_suffix("}.json") {
            Some(path) => format!("{path}}}"),
            None => self.path.clone(),
        };
        let router = std::mem::take(&mut self.routes.router);
        self.routes.router = router.route(&path, on(operation.verb.filter(), endpoint));
        self
    }
}
