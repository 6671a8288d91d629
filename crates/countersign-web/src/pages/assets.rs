//! The style sheet, the script and the icon: compiled in, served under a path that holds their digest, so that a browser may keep
//! them for ever and a new release of the server is seen at once. And `robots.txt`.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use countersign_trust::digest::Sha256;
use http::{HeaderName, StatusCode, header};

use super::visit::Visit;

static CSS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "countersign",
        "css",
        "text/css; charset=utf-8",
        include_bytes!("../../static/countersign.css"),
    )
});
static JS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "countersign",
        "js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../static/countersign.js"),
    )
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "mark",
        "svg",
        "image/svg+xml",
        include_bytes!("../../static/mark.svg"),
    )
});

/// A compiled-in file.
pub(super) struct Asset {
    path: String,
    content_type: &'static str,
    pub(super) bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest = Sha256::of(bytes).to_string();
        Self {
            path: format!("/static/{stem}-{}.{ending}", &digest[..16]),
            content_type,
            bytes,
        }
    }

    /// Its path on this site.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// The style sheet.
pub(super) fn css() -> &'static Asset {
    &CSS
}

/// The script for passkeys and copy buttons, on the pages that have them.
pub(super) fn js() -> &'static Asset {
    &JS
}

/// The icon.
pub(super) fn icon() -> &'static Asset {
    &ICON
}

/// `GET /static/{name}`. Open on restricted instances too: the page that asks for a password needs its style.
pub(super) async fn show(Path(name): Path<String>) -> Response {
    let path = format!("/static/{name}");
    match [css(), js(), icon()]
        .into_iter()
        .find(|asset| asset.path == path)
    {
        Some(asset) => {
            let headers: [(HeaderName, &'static str); 4] = [
                (header::CONTENT_TYPE, asset.content_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; style-src 'unsafe-inline'; sandbox",
                ),
            ];
            (headers, asset.bytes).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            "There is no such file; reload the page that asked for it.\n",
        )
            .into_response(),
    }
}

/// `GET /robots.txt`: pages may be found, machine endpoints and searches need not be crawled.
pub(super) async fn robots(visit: Visit) -> Response {
    let text = if visit.frame.restricted {
        "User-agent: *\nDisallow: /\n"
    } else {
        "User-agent: *\nDisallow: /search\nDisallow: /files/\nDisallow: /pypi/\nDisallow: /api/\nDisallow: /log/1/\nDisallow: /log/event/\n"
    };
    (
        [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "max-age=3600"),
        ],
        text,
    )
        .into_response()
}
