//! A guest's HTTP request and its answer, in the contract's words.

/// Header or query pairs, in order.
pub type Pairs = Vec<(String, String)>;

/// What a guest asks the gate for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// An HTTP method, upper case.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Headers the guest sets itself.
    pub headers: Pairs,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// The name of an `[[attach]]` recipe.
    pub credential: Option<String>,
    /// Whether redirects are followed (each hop judged anew).
    pub follow_redirects: bool,
}

/// What came back, scrubbed of what the recipe attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Where it came from, after redirects, in the manifest's own URLs.
    pub url: String,
    /// Response headers, names in lower case.
    pub headers: Pairs,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// Why a request was not answered; the contract's `http.error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not in the grant: nothing was sent.
    #[error("denied: {0}")]
    Denied(String),
    /// A declared quota has nothing left for this many ms.
    #[error("quota exhausted for {0} ms")]
    QuotaExhausted(u64),
    /// No answer in time.
    #[error("timed out")]
    Timeout,
    /// The name did not resolve.
    #[error("name not resolved")]
    Dns,
    /// No connection.
    #[error("connection failed")]
    Connect,
    /// TLS failed.
    #[error("TLS failed")]
    Tls,
    /// The answer ended early.
    #[error("answer interrupted")]
    Interrupted,
    /// The answer is over this many bytes.
    #[error("answer over {0} bytes")]
    TooLarge(u64),
    /// The run was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
