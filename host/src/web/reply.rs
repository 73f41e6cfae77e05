//! Answers: pages, redirects, and errors that have two texts, one for the person and one for the log.

use super::{markup::escape, site::Site};
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// What every handler returns.
pub type Reply = Result<Response, WebError>;

/// Why there is no page. The person reads [`Problem`]; the log gets the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// Nothing at this address, or nothing that this person may see: both look alike.
    #[error("not found")]
    NotFound,
    /// A problem that the person can do something about.
    #[error("{}", .0.text)]
    Told(Problem),
    /// Our fault.
    #[error("{0}")]
    Internal(String),
}

/// An error page's content.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// What happened, in a few words.
    pub title: String,
    /// What to do.
    pub text: String,
    /// Where to go on: a path below the site's base, and a button's words.
    pub onward: Option<(String, String)>,
    /// After how many seconds to come again.
    pub retry_after: Option<i64>,
}

impl WebError {
    /// Our fault: the text goes to the log only.
    pub fn internal(why: impl ToString) -> Self {
        Self::Internal(why.to_string())
    }

    /// The person's to mend.
    pub fn told(status: StatusCode, title: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Told(Problem { status, title: title.into(), text: text.into(), onward: None, retry_after: None })
    }

    /// With a button that leads on.
    #[must_use]
    pub fn onward(self, path: impl Into<String>, words: impl Into<String>) -> Self {
        match self {
            Self::Told(problem) => Self::Told(Problem { onward: Some((path.into(), words.into())), ..problem }),
            other => other,
        }
    }

    /// With a time to wait.
    #[must_use]
    pub fn after(self, seconds: i64) -> Self {
        match self {
            Self::Told(problem) => Self::Told(Problem { retry_after: Some(seconds), ..problem }),
            other => other,
        }
    }
}

impl From<sluice_store::StoreError> for WebError {
    fn from(why: sluice_store::StoreError) -> Self {
        Self::Internal(format!("the store: {why}"))
    }
}

impl From<super::password::PasswordError> for WebError {
    fn from(why: super::password::PasswordError) -> Self {
        match why {
            super::password::PasswordError::Busy => Self::told(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too busy at this moment",
                "Too many people are signing in. Try again in a few seconds.",
            )
            .after(5),
            other => Self::internal(other),
        }
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::NotFound => standard(StatusCode::NOT_FOUND),
            Self::Told(problem) => problem,
            Self::Internal(why) => {
                tracing::error!("a page failed: {why}");
                standard(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        let mut response = problem.status.into_response();
        response.extensions_mut().insert(problem);
        response
    }
}

/// What is said where nobody said more.
fn standard(status: StatusCode) -> Problem {
    let (title, text) = match status {
        StatusCode::NOT_FOUND => ("Nothing here", "There is no page at this address, or it is not yours to see."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("Not this way", "This address answers another kind of request. Go back and use the button there.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("Too large", "A form has at most 64 KiB."),
        StatusCode::FORBIDDEN => ("Refused", "This request did not come from a page of this site."),
        s if s.is_server_error() => (
            "That went wrong here",
            "It is not your fault, and nothing was half done. Try again; if it stays, look for the number below in Sluice's log.",
        ),
        _ => ("That did not work", "The request could not be understood. Go back and try again."),
    };
    Problem { status, title: title.to_owned(), text: text.to_owned(), onward: None, retry_after: None }
}

/// Renders a page.
///
/// # Errors
/// The template's, which is ours.
pub fn page<T: Template>(template: &T) -> Reply {
    let html = template.render().map_err(|why| WebError::Internal(format!("rendering a page: {why}")))?;
    Ok(Html(html).into_response())
}

/// 303 to a page of this site; `path` has the base already.
#[must_use]
pub fn see_other(path: &str) -> Response {
    redirect(path, StatusCode::SEE_OTHER)
}

fn redirect(to: &str, status: StatusCode) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (status, [(header::LOCATION, to)]).into_response(),
        Err(_) => WebError::internal("a redirect to an address that is no header").into_response(),
    }
}

/// Puts a page on an error that has none yet.
pub fn finish_error(site: &Site, style: &str, id: &str, response: Response) -> Response {
    let status = response.status();
    let told = response.extensions().get::<Problem>().cloned();
    // What a program asked for (JSON, a download) keeps its own words; axum's own refusals are bare or plain text.
    let bare = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let problem = match told {
        Some(problem) => problem,
        None if bare && (status.is_client_error() || status.is_server_error()) => standard(status),
        None => return response,
    };
    let (parts, _) = response.into_parts();
    let page = ErrorPage {
        base: site.base(),
        style,
        title: &problem.title,
        text: &problem.text,
        onward: problem.onward.as_ref(),
        id,
        ours: status.is_server_error(),
    };
    let html = page.render().unwrap_or_else(|_| format!("<!doctype html><title>{0}</title><p>{0}", escape(&problem.title)));
    let mut dressed = (status, Html(html)).into_response();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            dressed.headers_mut().append(name, value.clone());
        }
    }
    if let Some(seconds) = problem.retry_after {
        dressed.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    dressed
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    base: &'a str,
    style: &'a str,
    title: &'a str,
    text: &'a str,
    onward: Option<&'a (String, String)>,
    id: &'a str,
    ours: bool,
}
