//! The host's own requests as a server sees them: a real gate, a real socket, and a token endpoint that says what it was asked.

use super::keyring::Keyring;
use super::revoke::{self, Tokens, Verdict};
use super::token_answer::Refusal;
use super::token_request::{self, TokenRequestError};
use super::wire::CallError;
use super::{exchange, keyring};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use sluice_gate::{Egress, EgressOptions, Gate, GateOptions, Upstream};
use sluice_model::manifest::{Auth, AuthKind, ExchangeWhen, Oauth2};
use sluice_model::{Grant, Manifest};
use sluice_vault::Secret;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

const MANIFEST: &str = r#"
manifest = 1
name = "prov"
title = "Provider"
version = "1.0.0"

[[allow]]
origin = "https://api.provider.com"

[[auth]]
id = "app"
title = "App"
kind = "oauth2"
app-fields = ["client-id", "client-secret"]
authorize-url = "https://www.provider.com/authorize"
token-url = "https://www.provider.com/token"
revoke-url = "REVOKE"
scopes = ["read"]
client-auth = "CLIENT-AUTH"

[[auth]]
id = "web"
title = "Web"
kind = "redirect"
app-fields = ["api-key", "shared-secret"]
authorize-url = "https://www.provider.com/auth/"
authorize-query = { api_key = "{app.api-key}", cb = "{callback}" }
take = { token = "query:token" }
  [[auth.exchange]]
  when = "linked"
  method = "GET"
  url = "https://api.provider.com/2.0/"
  query = { method = "auth.getSession", api_key = "{app.api-key}", token = "{token}", format = "json" }
  sign = "sorted-md5"
  keep = { session = "/session/key", user = "/session/name" }

[[auth]]
id = "name"
title = "Name"
kind = "fields"
  [[auth.field]]
  name = "user"
  label = "User"
  secret = false

[[attach]]
name = "user"
profiles = ["web"]
to = ["GET https://api.provider.com/"]
query = { sk = "{session}", api_key = "{app.api-key}" }

[[metric]]
name = "things"
unit = "{thing}"
kind = "sum"
identity = "time"
"#;

struct Asked {
    line: String,
    authorization: Option<String>,
    content_type: Option<String>,
    body: String,
}

#[derive(Clone, Default)]
struct Provider {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

async fn answer(State(provider): State<Provider>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    provider.asked.lock().unwrap().push(Asked {
        line: format!("{method} {uri}"),
        authorization: text("authorization"),
        content_type: text("content-type"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let (status, body) = provider.answers.lock().unwrap().pop_front().unwrap_or((500, String::new()));
    (StatusCode::from_u16(status).unwrap(), body)
}

struct Bench {
    provider: Provider,
    egress: Arc<Egress>,
    manifest: Arc<Manifest>,
}

impl Bench {
    async fn new(client_auth: &str, revoke: &str) -> Self {
        let text = MANIFEST.replace("CLIENT-AUTH", client_auth).replace("REVOKE", revoke);
        let manifest = Arc::new(Manifest::parse(&text).unwrap_or_else(|e| panic!("{e}")));
        let provider = Provider::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let upstream = |from: &str| Upstream { from: from.into(), to: base.clone(), allow_private: true };
        let options = EgressOptions {
            connector: "prov".into(),
            grant: Arc::new(Grant::new(&manifest, &[]).unwrap()),
            manifest: manifest.clone(),
            upstreams: vec![upstream("https://www.provider.com"), upstream("https://api.provider.com")],
        };
        let egress = Gate::new(GateOptions::new(Arc::new(|| 1_000))).egress(options).unwrap();
        Self { provider, egress, manifest }
    }

    fn auth(&self, id: &str) -> (Auth, Option<Oauth2>) {
        let auth = self.manifest.profile(id).unwrap().clone();
        let oauth = match &auth.kind {
            AuthKind::Oauth2(oauth) => Some(oauth.clone()),
            _ => None,
        };
        (auth, oauth)
    }

    fn answers(&self, status: u16, body: &str) {
        self.provider.answers.lock().unwrap().push_back((status, body.to_owned()));
    }

    fn asked(&self) -> Asked {
        self.provider.asked.lock().unwrap().remove(0)
    }
}

fn secret(text: &str) -> Secret {
    Secret::text(text.to_owned())
}

fn ring(fields: &[(&str, &str)]) -> Keyring {
    Keyring::new(fields.iter().map(|(name, value)| ((*name).to_owned(), (secret(value), *name != "client-id"))).collect())
}

const APP: [(&str, &str); 2] = [("client-id", "id 1"), ("client-secret", "s&cret")];

#[tokio::test]
async fn a_code_goes_out_with_its_verifier_and_the_app_in_the_body() {
    let bench = Bench::new("body", "https://www.provider.com/revoke").await;
    let (_, oauth) = bench.auth("app");
    bench.answers(200, "access_token=A&scope=read%2Cmore&refresh_token=R&expires_in=60");
    let got =
        token_request::by_code(&bench.egress, &oauth.unwrap(), &ring(&APP), secret("c=1"), "https://s.example/cb", Some(secret("v"))).await;
    let got = got.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(got.access_token.expose(), b"A");
    assert_eq!(got.scopes, Some(vec!["read".into(), "more".into()]));
    let asked = bench.asked();
    assert_eq!(asked.line, "POST /token");
    assert_eq!(asked.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.authorization, None);
    assert_eq!(
        asked.body,
        "grant_type=authorization_code&code=c%3D1&redirect_uri=https%3A%2F%2Fs.example%2Fcb&code_verifier=v&client_id=id+1&client_secret=s%26cret"
    );
}

#[tokio::test]
async fn a_refresh_goes_out_with_the_app_in_the_header() {
    let bench = Bench::new("basic", "https://www.provider.com/revoke").await;
    let (_, oauth) = bench.auth("app");
    bench.answers(200, r#"{"access_token":"A2"}"#);
    let got =
        token_request::by_refresh_token(&bench.egress, &oauth.unwrap(), &ring(&APP), secret("R")).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(got.refresh_token.is_none());
    let asked = bench.asked();
    assert_eq!(asked.body, "grant_type=refresh_token&refresh_token=R");
    // base64("id+1:s%26cret"), by another program.
    assert_eq!(asked.authorization.as_deref(), Some("Basic aWQrMTpzJTI2Y3JldA=="));
}

#[tokio::test]
async fn what_an_endpoint_says_is_told_from_what_nobody_heard() {
    let bench = Bench::new("body", "https://www.provider.com/revoke").await;
    let oauth = bench.auth("app").1.unwrap();
    let ring = ring(&APP);
    for (status, body, class) in [
        (200, r#"{"error":"incorrect_client_credentials"}"#, Refusal::InvalidClient),
        (401, r#"{"error":"invalid_client"}"#, Refusal::InvalidClient),
        (400, r#"{"error":"invalid_grant"}"#, Refusal::SignInAgain),
        (503, "down", Refusal::Transient),
        (302, "", Refusal::Other),
    ] {
        bench.answers(status, body);
        match token_request::by_refresh_token(&bench.egress, &oauth, &ring, secret("CANARY")).await {
            Err(failed @ TokenRequestError::Token { .. }) => {
                assert_eq!(failed.is_invalid_client(), class == Refusal::InvalidClient, "{body}");
                let TokenRequestError::Token { error, .. } = &failed else { unreachable!() };
                assert_eq!(error.class(), class, "{body}");
                assert!(!format!("{failed} {failed:?}").contains("CANARY"));
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{body}: read as a token"),
        }
    }
    // A server that takes the request and goes away: it may have acted.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = |to: String| EgressOptions {
        connector: "prov".into(),
        grant: Arc::new(Grant::new(&bench.manifest, &[]).unwrap()),
        manifest: bench.manifest.clone(),
        upstreams: vec![Upstream { from: "https://www.provider.com".into(), to, allow_private: true }],
    };
    let gate = Gate::new(GateOptions::new(Arc::new(|| 1_000)));
    let rude = gate.egress(options(format!("http://127.0.0.1:{port}"))).unwrap();
    let going = tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let lost = token_request::by_refresh_token(&rude, &oauth, &ring, secret("CANARY")).await.err().unwrap();
    assert!(matches!(&lost, TokenRequestError::Call(CallError::Lost(_))), "{lost}");
    going.await.unwrap();
    // Nobody listens there now: nothing was sent.
    let unreachable = token_request::by_refresh_token(&rude, &oauth, &ring, secret("CANARY")).await.err().unwrap();
    assert!(matches!(&unreachable, TokenRequestError::Call(CallError::NotSent(_))), "{unreachable}");
    assert!(!format!("{lost:?} {unreachable:?}").contains("CANARY"));
}

#[tokio::test]
async fn silence_and_half_an_answer_are_lost_and_a_connection_that_never_came_about_is_not() {
    let bench = Bench::new("body", "https://www.provider.com/revoke").await;
    let oauth = bench.auth("app").1.unwrap();
    let timeouts = sluice_gate::Timeouts {
        connect: Duration::from_millis(300),
        first_byte: Duration::from_millis(600),
        between_bytes: Duration::from_millis(300),
        whole: Duration::from_secs(5),
    };
    let gate = Gate::new(GateOptions { timeouts, ..GateOptions::new(Arc::new(|| 1_000)) });
    // What a server says to a request, if it reads one, and whether it closes then. (scheme, answer, closes, lost)
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n";
    for (what, scheme, answer, closes, lost) in [
        ("silence", "http", String::new(), false, true),
        ("half an answer, then silence", "http", format!("{head}{{\"access_tok"), false, true),
        ("half an answer, then the end", "http", format!("{head}{{\"access_tok"), true, true),
        ("the end", "http", String::new(), true, true),
        ("no TLS", "https", String::new(), false, false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("{scheme}://{}", listener.local_addr().unwrap());
        let options = EgressOptions {
            connector: "prov".into(),
            grant: Arc::new(Grant::new(&bench.manifest, &[]).unwrap()),
            manifest: bench.manifest.clone(),
            upstreams: vec![Upstream { from: "https://www.provider.com".into(), to, allow_private: true }],
        };
        let egress = gate.egress(options).unwrap();
        let serving = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let failed = token_request::by_refresh_token(&egress, &oauth, &ring(&APP), secret("CANARY")).await.err().unwrap();
        let TokenRequestError::Call(call) = &failed else { panic!("{what}: {failed}") };
        assert_eq!(matches!(call, CallError::Lost(_)), lost, "{what}: {failed}");
        assert_eq!(matches!(call, CallError::NotSent(_)), !lost, "{what}: {failed}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_redirect_profile_becomes_a_session_by_a_signed_exchange() {
    let bench = Bench::new("body", "https://www.provider.com/revoke").await;
    let (auth, _) = bench.auth("web");
    let mut ring = ring(&[("api-key", "XXX"), ("shared-secret", "SECRET")]);
    ring.put("token", secret("YYY"), true, None);
    bench.answers(200, r#"{"session":{"name":"ann","key":"SK","subscriber":0}}"#);
    exchange::run(&bench.egress, &bench.manifest, &auth, ExchangeWhen::Linked, &mut ring, 1_000).await.unwrap_or_else(|e| panic!("{e}"));
    let asked = bench.asked();
    let mut parameters: Vec<&str> = asked.line.strip_prefix("GET /2.0/?").unwrap().split('&').collect();
    parameters.sort_unstable();
    assert_eq!(
        parameters,
        ["api_key=XXX", "api_sig=929d36fcd90eeadf4a440e6ed7d66468", "format=json", "method=auth.getSession", "token=YYY"]
    );
    assert_eq!(ring.look_up("session").unwrap().expose(), b"SK");
    assert!(ring.keys["session"].secret);
    assert!(!ring.keys["user"].secret, "a name that a form of this connector shows is no secret");
    assert!(keyring::is_secret(&bench.manifest, "session"));
}

#[tokio::test]
async fn a_grant_is_revoked_in_the_shape_that_the_manifest_names() {
    let tokens = || Tokens { access: Some(secret("A")), refresh: Some(secret("R")) };
    let github = Bench::new("body", "https://api.provider.com/applications/{app.client-id}/grant").await;
    let oauth = github.auth("app").1.unwrap();
    github.answers(204, "");
    let verdict = revoke::revoke(
        &github.egress,
        &oauth,
        oauth.revoke_url.as_deref().unwrap(),
        &ring(&[("client-id", "Iv1.a"), ("client-secret", "s")]),
        &tokens(),
    )
    .await;
    assert_eq!(verdict, Verdict::Done);
    let asked = github.asked();
    assert_eq!(asked.line, "DELETE /applications/Iv1.a/grant");
    assert_eq!(asked.body, r#"{"access_token":"A"}"#);
    assert_eq!(asked.content_type.as_deref(), Some("application/json"));
    assert_eq!(asked.authorization.as_deref(), Some("Basic SXYxLmE6cw=="));

    // An access token that has ended is unknown there, and its refresh token still good.
    github.answers(422, "");
    github.answers(200, r#"{"access_token":"A2","refresh_token":"R2"}"#);
    github.answers(204, "");
    let app = ring(&[("client-id", "Iv1.a"), ("client-secret", "s")]);
    assert_eq!(revoke::revoke(&github.egress, &oauth, oauth.revoke_url.as_deref().unwrap(), &app, &tokens()).await, Verdict::Done);
    assert_eq!(
        [github.asked().body, github.asked().line, github.asked().body],
        [r#"{"access_token":"A"}"#.to_owned(), "POST /token".to_owned(), r#"{"access_token":"A2"}"#.to_owned()]
    );

    let rfc = Bench::new("basic", "https://www.provider.com/revoke").await;
    let oauth = rfc.auth("app").1.unwrap();
    rfc.answers(200, "");
    rfc.answers(503, "");
    let verdict = revoke::revoke(&rfc.egress, &oauth, oauth.revoke_url.as_deref().unwrap(), &ring(&APP), &tokens()).await;
    assert_eq!(verdict, Verdict::Later("status 503".into()));
    assert_eq!(rfc.asked().body, "token=R&token_type_hint=refresh_token");
    assert_eq!(rfc.asked().body, "token=A&token_type_hint=access_token");
}
