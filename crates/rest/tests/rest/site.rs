//! The router under test, with helpers to send requests.

use super::*;

pub(crate) const PASSWORD: &str = "Correct-Horse-7";
pub(crate) const DIGITS: &str = "0123456789abcdef0123456789abcdef";

/// A router over a store with two accounts, and the credentials of each caller.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) sid: String,
    pub(crate) login: (String, String),
    pub(crate) stranger: (String, String),
    pub(crate) admin: (String, String),
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub(crate) fn code(&self) -> u64 {
        self.json()["code"].as_u64().unwrap_or_default()
    }

    pub(crate) fn text_of(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("{name}: {}", self.text)).to_owned()
    }
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(RestOptions::default(), Limits::default()).await
    }

    pub(crate) async fn with(options: RestOptions, limits: Limits) -> Self {
        Self::on(MemoryStore::new(), options, limits).await
    }

    pub(crate) async fn on<S: Store + Clone>(
        store: S,
        options: RestOptions,
        limits: Limits,
    ) -> Self {
        let settings = Settings::new("sip.example.com".parse().unwrap()).with_limits(limits);
        Self::of(store, options, settings).await
    }

    pub(crate) async fn of<S: Store + Clone>(
        store: S,
        options: RestOptions,
        settings: Settings,
    ) -> Self {
        let (snapshot, head) = Follower::load(&store, settings.vocabulary).await.unwrap();
        let authorizer = Arc::new(Authorizer::new(snapshot).unwrap());
        let follower = Follower::new(store.clone(), Arc::clone(&authorizer), head);
        let directory = Arc::new(Directory::new(store, settings, Some(follower.applied())));
        tokio::spawn(follower.run());
        let own = directory.create_account("own").await.unwrap();
        let other = directory.create_account("other").await.unwrap();
        let options = options.with_admin(AdminToken::new("the admin token"));
        Self {
            router: router(directory, options),
            authorizer,
            sid: own.account.sid.to_string(),
            login: (own.account.sid.to_string(), own.token.to_string()),
            stranger: (other.account.sid.to_string(), other.token.to_string()),
            admin: ("admin".to_owned(), "the admin token".to_owned()),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends as the account; `{ac}` in the path is its SID.
    pub(crate) async fn call(&self, method: &str, path: &str, form: &str) -> Answer {
        self.call_as(&self.login, method, path, form).await
    }

    pub(crate) async fn call_as(
        &self,
        login: &(String, String),
        method: &str,
        path: &str,
        form: &str,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path.replace("{ac}", &self.sid))
            .header(header::HOST, "api.example.com:8080")
            .header(header::AUTHORIZATION, basic(&login.0, &login.1))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    /// Creates a resource and returns its SID.
    pub(crate) async fn make(&self, path: &str, form: &str) -> String {
        let answer = self.call("POST", path, form).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text);
        answer.text_of("sid")
    }

    /// Creates one resource of each kind, with all mappings, and returns the SIDs.
    pub(crate) async fn full(&self) -> Full {
        let domain = self.make(&sip("Domains"), "DomainName=a.example.com").await;
        let users = self.make(&sip("CredentialLists"), "FriendlyName=phones").await;
        let addresses = self.make(&sip("IpAccessControlLists"), "FriendlyName=carriers").await;
        let form = format!("Username=alice&Password={PASSWORD}");
        let credential =
            self.make(&sip(&format!("CredentialLists/{users}/Credentials")), &form).await;
        self.make(
            &sip(&format!("IpAccessControlLists/{addresses}/IpAddresses")),
            "FriendlyName=one&IpAddress=192.0.2.1",
        )
        .await;
        let (by_users, by_addresses) =
            (format!("CredentialListSid={users}"), format!("IpAccessControlListSid={addresses}"));
        let trunk = self.make("/v1/Trunks", "").await;
        for path in ["Auth/Calls", "Auth/Registrations"] {
            self.make(&sip(&format!("Domains/{domain}/{path}/CredentialListMappings")), &by_users)
                .await;
        }
        self.make(&sip(&format!("Domains/{domain}/IpAccessControlListMappings")), &by_addresses)
            .await;
        self.make(&format!("/v1/Trunks/{trunk}/CredentialLists"), &by_users).await;
        self.make(&format!("/v1/Trunks/{trunk}/IpAccessControlLists"), &by_addresses).await;
        let role = self
            .make(
                &roles(),
                "FriendlyName=r&Type=channel&Permission=addMember&Permission=sendMessage",
            )
            .await;
        Full { domain, users, addresses, credential, trunk, role }
    }
}

pub(crate) struct Full {
    pub(crate) domain: String,
    pub(crate) users: String,
    pub(crate) addresses: String,
    pub(crate) credential: String,
    pub(crate) trunk: String,
    pub(crate) role: String,
}

pub(crate) fn sip(path: &str) -> String {
    format!("/2010-04-01/Accounts/{{ac}}/SIP/{path}.json")
}

pub(crate) fn roles() -> String {
    format!("/v2/Services/IS{DIGITS}/Roles")
}

pub(crate) fn basic(user: &str, token: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{token}")))
}

pub(crate) fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

pub(crate) fn named(names: &str) -> BTreeSet<&str> {
    names.split(',').map(str::trim).collect()
}
