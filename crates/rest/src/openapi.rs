//! The OpenAPI document, built from the table of operations and their response types.

use std::collections::BTreeSet;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AllOfBuilder, Array, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, Info, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::bulk::LINES;
use super::error::{ErrorBody, Json};
use super::form::{Param, ParamForm};
use super::operation::{Access, Operation, Verb};
use super::request::ACCOUNT_HEADER;
use super::wait;

const SECURITY: &str = "basic";

/// The document under construction.
pub(super) struct Document {
    paths: Paths,
    schemas: Vec<(String, RefOr<Schema>)>,
    ids: BTreeSet<String>,
}

impl Document {
    pub(super) fn new() -> Self {
        let mut document = Self { paths: Paths::new(), schemas: Vec::new(), ids: BTreeSet::new() };
        document.reference::<ErrorBody<'static>>();
        document
    }

    /// Adds an operation whose response is an `A` or a page of `A`.
    pub(super) fn add<A: ToSchema + 'static>(&mut self, path: &str, operation: &Operation) {
        let status = operation.verb.status().as_u16().to_string();
        // the schema of a 202 response to a change with `Wait=applied`
        let mut accepted = None;
        let answer = match operation.verb {
            Verb::Delete => {
                accepted = Some(RefOr::T(unconfirmed(true)));
                Response::new("Deleted")
            }
            Verb::List(key) => {
                let row = self.reference::<A>();
                body("A page of the list", envelope(key, row, operation.has_uris))
            }
            Verb::Create | Verb::Fetch | Verb::Update => {
                let resource = self.reference::<A>();
                if operation.verb != Verb::Fetch {
                    let both = AllOfBuilder::new().item(resource.clone()).item(unconfirmed(false));
                    accepted = Some(RefOr::T(Schema::AllOf(both.build())));
                }
                body("The resource", resource)
            }
        };
        let id = self.id(path, operation.verb);
        let mut described =
            described(operation.kind.as_str(), id, summary(operation)).response(status, answer);
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            described = described.parameter(place(name));
        }
        if operation.access == Access::Account && !path.contains("{AccountSid}") {
            described = described.parameter(chosen_account());
        }
        if let Some(accepted) = accepted {
            for param in wait::PARAMS {
                described = described.parameter(query(param));
            }
            let what = "The change is committed, but not all edges have confirmed it";
            described = described.response("202", body(what, accepted));
        }
        let method = match operation.verb {
            Verb::Fetch | Verb::List(_) => {
                for param in operation.params {
                    described = described.parameter(query(param));
                }
                HttpMethod::Get
            }
            Verb::Create | Verb::Update => {
                described = described.request_body(Some(form(operation.params)));
                HttpMethod::Post
            }
            Verb::Delete => HttpMethod::Delete,
        };
        self.insert(path, PathItem::new(method, described));
    }

    /// Adds export and import.
    pub(super) fn add_bulk(&mut self) {
        let name = |verb: &str| format!("{verb}All");
        let export = described("all records", name("export"), "Export: all records (admin)".into())
            .parameter(query(&Param::flag("secrets")))
            .response("200", body("All records", records()));
        let read = ContentBuilder::new().schema(Some(records())).build();
        let read = RequestBodyBuilder::new().content("application/json", read).build();
        let mut result = body("The result of the import", imported());
        // one JSON value on each line
        let lines = ContentBuilder::new().schema(Some(typed(Type::String))).build();
        result.content.insert(LINES.to_owned(), lines);
        let import = described("all records", name("import"), "Import: all records (admin)".into())
            .parameter(query(&Param::flag("dry_run")))
            .parameter(query(&Param::text("resume")))
            .request_body(Some(read))
            .response("200", result);
        let get = PathItem::new(HttpMethod::Get, export);
        let post = PathItem::new(HttpMethod::Post, import);
        for (path, item) in [("/admin/export", get), ("/admin/import", post)] {
            self.paths.paths.insert(path.to_owned(), item);
        }
    }

    /// Adds an operation that is in no table.
    pub(super) fn insert(&mut self, path: &str, item: PathItem) {
        match self.paths.paths.get_mut(path) {
            Some(known) => known.merge_operations(item),
            None => drop(self.paths.paths.insert(path.to_owned(), item)),
        }
    }

    pub(super) fn finish(self) -> OpenApi {
        let mut components = Components::new();
        components.schemas.extend(self.schemas);
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        components.add_security_scheme(SECURITY, scheme);
        OpenApiBuilder::new()
            .info(Info::new("sip-authz", env!("CARGO_PKG_VERSION")))
            .paths(self.paths)
            .components(Some(components))
            .build()
    }

    /// Returns a reference to the schema of a type, and adds the schema if it is new.
    pub(super) fn reference<A: ToSchema + 'static>(&mut self) -> RefOr<Schema> {
        let name = A::name().into_owned();
        if self.schemas.iter().all(|(known, _)| *known != name) {
            self.schemas.push((name.clone(), <A as PartialSchema>::schema()));
            A::schemas(&mut self.schemas);
        }
        Ref::from_schema_name(name).into()
    }

    /// A unique name for an operation.
    fn id(&mut self, path: &str, verb: Verb) -> String {
        let verb = match verb {
            Verb::Create => "create",
            Verb::Fetch => "fetch",
            Verb::List(_) => "list",
            Verb::Update => "update",
            Verb::Delete => "delete",
        };
        let fixed = path.split('/').filter(|part| !part.is_empty() && !part.starts_with('{'));
        let words: String = fixed.skip(1).map(|part| part.trim_end_matches(".json")).collect();
        let mut id = format!("{verb}{words}");
        if path.ends_with("}.json") || path.ends_with('}') {
            id.push_str("Instance");
        }
        while !self.ids.insert(id.clone()) {
            id.push('_');
        }
        id
    }
}

/// Serves the document.
pub(super) fn routes(document: OpenApi) -> Router {
    let document = json!(document);
    Router::new().route("/openapi.json", get(async move || Json(document)))
}

/// The parts that all operations share.
pub(super) fn described(tag: &str, id: String, summary: String) -> OperationBuilder {
    let error = Ref::from_schema_name(ErrorBody::name());
    OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(id))
        .summary(Some(summary))
        .response("default", body("An error", error.into()))
        .security(SecurityRequirement::new::<_, [&str; 0], &str>(SECURITY, []))
}

/// The schema of an export. `docs/import.md` describes its fields.
fn records() -> RefOr<Schema> {
    let document = ObjectBuilder::new().property("format", typed(Type::String));
    RefOr::T(Schema::Object(document.required("format").build()))
}

/// The schema of the response to an import.
fn imported() -> RefOr<Schema> {
    let mut answer = ObjectBuilder::new();
    let warnings = RefOr::T(Schema::Array(Array::new(typed(Type::String))));
    for (name, schema) in [
        ("new", typed(Type::Integer)),
        ("changed", typed(Type::Integer)),
        ("unchanged", typed(Type::Integer)),
        ("dry_run", typed(Type::Boolean)),
        ("warnings", warnings),
    ] {
        answer = answer.property(name, schema).required(name);
    }
    RefOr::T(Schema::Object(answer.build()))
}

/// The schema of the fields that a 202 response adds. A response without a resource has `status` too.
/// `edges` is null if the reports of the edges could not be read.
fn unconfirmed(with_status: bool) -> Schema {
    let kind = SchemaType::from_iter([Type::Array, Type::Null]);
    let edges = ArrayBuilder::new().schema_type(kind).items(typed(Type::String));
    let mut fields = ObjectBuilder::new();
    if with_status {
        fields = fields.property("status", typed(Type::Integer)).required("status");
    }
    let fields = fields.property("message", typed(Type::String)).required("message");
    Schema::Object(fields.property("edges", edges.build()).required("edges").build())
}

fn summary(operation: &Operation) -> String {
    let does = match operation.verb {
        Verb::Create => "Create",
        Verb::Fetch => "Fetch",
        Verb::List(_) => "List",
        Verb::Update => "Update",
        Verb::Delete => "Delete",
    };
    let who = if operation.access == Access::Admin { " (admin)" } else { "" };
    format!("{does}: {}{who}", operation.kind)
}

pub(super) fn body(what: &str, schema: RefOr<Schema>) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content("application/json", content).build()
}

pub(super) fn place(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(typed(Type::String)))
        .build()
}

/// The header with the account that the admin acts for.
fn chosen_account() -> Parameter {
    ParameterBuilder::new()
        .name(ACCOUNT_HEADER)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("SID of the account that the admin acts for"))
        .schema(Some(typed(Type::String)))
        .build()
}

pub(super) fn query(param: &Param) -> Parameter {
    ParameterBuilder::new()
        .name(param.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .schema(Some(value(param)))
        .build()
}

pub(super) fn form(params: &[Param]) -> RequestBody {
    let mut object = ObjectBuilder::new();
    for param in params {
        let one = value(param);
        let schema = if param.repeated { RefOr::T(Schema::Array(Array::new(one))) } else { one };
        object = object.property(param.name, schema);
        if param.required {
            object = object.required(param.name);
        }
    }
    let content = ContentBuilder::new().schema(Some(object.build())).build();
    RequestBodyBuilder::new().content("application/x-www-form-urlencoded", content).build()
}

fn value(param: &Param) -> RefOr<Schema> {
    match param.form {
        ParamForm::Text => typed(Type::String),
        ParamForm::Boolean => typed(Type::Boolean),
        ParamForm::Integer => typed(Type::Integer),
        ParamForm::Secret => {
            let secret = ObjectBuilder::new().schema_type(Type::String).write_only(Some(true));
            RefOr::T(Schema::Object(secret.build()))
        }
    }
}

pub(super) fn typed(kind: Type) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(kind).build()))
}

fn nullable_text() -> RefOr<Schema> {
    let kind = SchemaType::from_iter([Type::String, Type::Null]);
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(kind).build()))
}

/// The schema of a page: the rows, and links to this page and its neighbours.
pub(super) fn envelope(key: &'static str, row: RefOr<Schema>, has_uris: bool) -> RefOr<Schema> {
    let links = if has_uris {
        ["first_page_uri", "next_page_uri", "previous_page_uri", "uri"]
    } else {
        ["first_page_url", "next_page_url", "previous_page_url", "url"]
    };
    let mut about = ObjectBuilder::new();
    for link in links {
        let schema = if link.contains("next") || link.contains("previous") {
            nullable_text()
        } else {
            typed(Type::String)
        };
        about = about.property(link, schema).required(link);
    }
    let numbers: &[&str] =
        if has_uris { &["end", "page", "page_size", "start"] } else { &["page", "page_size"] };
    for number in numbers {
        about = about.property(*number, typed(Type::Integer)).required(*number);
    }
    let rows = RefOr::T(Schema::Array(Array::new(row)));
    let whole = if has_uris {
        about.property(key, rows).required(key)
    } else {
        let meta = about.property("key", typed(Type::String)).required("key").build();
        ObjectBuilder::new()
            .property(key, rows)
            .required(key)
            .property("meta", meta)
            .required("meta")
    };
    RefOr::T(Schema::Object(whole.build()))
}
