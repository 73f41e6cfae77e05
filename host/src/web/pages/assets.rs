//! The style sheet and the icon, compiled in. Their address carries the content's hash, so that a new release is never shown in old clothes.

use axum::response::{IntoResponse, Response};
use http::header;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("../../../assets/sluice.css");
const ICON: &str = include_str!("../../../assets/sluice.svg");
const YEAR: &str = "public, max-age=31536000, immutable";
const DAY: &str = "public, max-age=86400";

/// The style sheet's path, with its hash.
pub fn style_path() -> String {
    let hash: String = Sha256::digest(STYLE.as_bytes()).iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("/assets/sluice.css?{hash}")
}

pub async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, YEAR)], STYLE).into_response()
}

pub async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, DAY)], ICON).into_response()
}
