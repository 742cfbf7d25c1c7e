//! Serves the REST API over a store in memory, at the root or under a prefix: `rest_server [PREFIX]`.
//!
//! Prints the base URL, the SID of an account and its auth token, one per line. The admin token is in the
//! environment variable `SIP_AUTHZ_ADMIN_TOKEN`.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use sip_authz::Authorizer;
use sip_authz_directory::{Directory, Settings};
use sip_authz_rest::{AdminToken, OnFault, RestOptions, router};
use sip_authz_store::Follower;
use sip_authz_store::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let prefix = std::env::args().nth(1).unwrap_or_default();
    let admin = std::env::var("SIP_AUTHZ_ADMIN_TOKEN").ok();

    let store = MemoryStore::new();
    let settings = Settings::new("sip.example.com".parse()?);
    let (snapshot, head) = Follower::load(&store, settings.vocabulary).await?;
    let authorizer = Arc::new(Authorizer::new(snapshot)?);
    let follower = Follower::new(store.clone(), authorizer, head);
    let directory = Arc::new(Directory::new(store, settings, Some(follower.applied())));
    let followed = tokio::spawn(follower.run());

    let options = RestOptions::default()
        .with_admin(admin.as_deref().and_then(AdminToken::new))
        .with_on_fault(Some(OnFault::new(|error| eprintln!("{error}"))));
    let rest = router(Arc::clone(&directory), options);
    let app = if prefix.is_empty() { rest } else { Router::new().nest(&prefix, rest) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}{prefix}", listener.local_addr()?);
    let account = directory.create_account("example").await?;
    println!("{}\n{}", account.account.sid, account.token.as_str());

    tokio::select! {
        served = axum::serve(listener, app) => served?,
        stopped = followed => match stopped? {
            Err(error) => return Err(error.into()),
            Ok(never) => match never {},
        },
    }
    Ok(())
}
