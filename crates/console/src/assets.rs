//! The static files.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// A static file with its version: a hash of its content.
pub(crate) struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
    version: String,
}

/// The style sheet.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console.css", "text/css; charset=utf-8", include_str!("../static/console.css"))
});
/// The script.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console.js", "text/javascript; charset=utf-8", include_str!("../static/console.js"))
});
/// The icon.
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon.svg", "image/svg+xml", include_str!("../static/icon.svg")));

impl Asset {
    fn new(name: &'static str, kind: &'static str, content: &'static str) -> Self {
        let hash: [u8; 32] = Sha256::digest(content).into();
        let version = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, kind, content, version }
    }

    /// The link of the file below `/console/`. A new content has a new link, so caches keep it for long.
    pub(crate) fn link(&self) -> String {
        format!("static/{}?v={}", self.name, self.version)
    }
}

/// `GET /console/static/{file}`.
pub(crate) async fn get(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let known = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == file);
    let Some(asset) = known else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let tag = format!("\"{}\"", asset.version);
    let has_it = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|tags| tags.to_str().is_ok_and(|tags| tags.split(',').any(|one| one.trim() == tag)));
    let shared = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    match has_it {
        true => (StatusCode::NOT_MODIFIED, shared).into_response(),
        false => (shared, [(header::CONTENT_TYPE, asset.kind)], asset.content).into_response(),
    }
}
