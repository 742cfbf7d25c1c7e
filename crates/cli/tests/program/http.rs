//! A client of the REST API, as an account or as the admin.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::support::{ADMIN_TOKEN, Server};

pub(crate) struct Http {
    agent: ureq::Agent,
    base: String,
    authorization: String,
}

impl Http {
    pub(crate) fn admin(server: &Server) -> Self {
        Self::new(server, "admin", ADMIN_TOKEN)
    }

    pub(crate) fn new(server: &Server, user: &str, token: &str) -> Self {
        let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
        let pair = BASE64_STANDARD.encode(format!("{user}:{token}"));
        let base = format!("http://{}", server.api);
        Self { agent: agent.into(), base, authorization: format!("Basic {pair}") }
    }

    /// Status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let request = self.agent.get(format!("{}{path}", self.base));
        answer(request.header("authorization", &self.authorization).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("authorization", &self.authorization);
        answer(request.send_form(form.iter().copied()).unwrap())
    }

    pub(crate) fn post_json(&self, path: &str, body: &str) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        answer(request.header("authorization", &self.authorization).send(body).unwrap())
    }

    pub(crate) fn delete(&self, path: &str) -> u16 {
        let request = self.agent.delete(format!("{}{path}", self.base));
        let answer = request.header("authorization", &self.authorization).call().unwrap();
        answer.status().as_u16()
    }

    /// Creates a resource and returns its SID.
    pub(crate) fn create(&self, path: &str, form: &[(&str, &str)]) -> String {
        let (status, body) = self.post(path, form);
        assert_eq!(status, 201, "{path} {form:?}: {body}");
        body["sid"].as_str().unwrap().to_owned()
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
