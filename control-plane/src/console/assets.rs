//! Stylesheet, script and mark: inside the binary, served under names that hold their hash.
//!
//! Invariant: what a name stands for never changes, so browsers may keep it for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::secret::Digest;

/// One embedded file.
struct Asset {
    /// `console.css`.
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const FILES: [Asset; 3] = [
    Asset {
        name: "console.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("../../../web/static/console.css"),
    },
    Asset {
        name: "console.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("../../../web/static/console.js"),
    },
    Asset { name: "mark.svg", media_type: "image/svg+xml", text: include_str!("../../../web/static/mark.svg") },
];

/// The files with the paths they are served under: `/static/console.ab12cd34.css`.
static PATHS: LazyLock<Vec<(String, &Asset)>> = LazyLock::new(|| FILES.iter().map(|file| (path(file), file)).collect());

/// Where a page finds the file called `name`; empty when there is none.
pub(super) fn href(name: &str) -> &'static str {
    PATHS.iter().find(|(_, file)| file.name == name).map_or("", |(path, _)| path)
}

/// `GET /static/{file}`.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let wanted = PATHS.iter().find(|(path, _)| path.strip_prefix("/static/") == Some(file.as_str()));
    let Some((_, asset)) = wanted else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, asset.text).into_response()
}

fn path(file: &Asset) -> String {
    let (stem, extension) = file.name.split_once('.').unwrap_or((file.name, ""));
    let hash: String = Digest::of(file.text).as_bytes().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("/static/{stem}.{hash}.{extension}")
}
