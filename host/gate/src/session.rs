//! One run's way out: its keys, its quotas, its budget of requests, and what was seen meanwhile.
//!
//! A request is planned once (everything that can be refused without sending is refused there), then sent hop by hop. Each hop is decided anew, each counts
//! against quotas and budget, and each gets a key only where the recipe says so. Keys stay attached while redirects stay on one origin; once a hop
//! left it, no later hop gets them back.

use crate::answer::{self, Answer};
use crate::deadline::Deadline;
use crate::decode;
use crate::egress::Egress;
use crate::explain::{refusal, shown, shown_text};
use crate::headers;
use crate::inbound::Inbound;
use crate::keys::Keys;
use crate::quota::{QuotaState, Quotas, Taken};
use crate::recipe::{Draft, Recipe};
use crate::redirect::{self, MAX_HOPS};
use crate::retry_after::retry_after;
use crate::scrub::Scrubber;
use crate::seen::{Last, Seen};
use crate::wire::{NoAnswer, Outgoing};
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method};
use sluice_model::grant::Decision;
use sluice_model::limits::{MAX_BODY_BYTES, MAX_REQUESTS_AT_ONCE};
use sluice_model::request::{FetchError, Pairs, Request, Response};
use sluice_model::{AppId, ConnectionId, Grant};
use sluice_vault::Secret;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use url::{Url, form_urlencoded};

/// Of these, how many are under way.
const IN_FLIGHT: usize = 8;
/// What one request may wait for quotas, all hops together. Longer waits free the worker instead.
const LONGEST_WAIT_MS: u64 = 5_000;
/// What a session is made of.
pub struct SessionOptions {
    /// Who shares app-wide quotas.
    pub app: AppId,
    /// The connection, when it exists already.
    pub connection: Option<ConnectionId>,
    /// The `[[auth]]` profile: which recipes there are.
    pub profile: String,
    /// The keys that recipes draw on.
    pub keys: Keys,
    /// Bytes of one answer, on the wire and decoded.
    pub response_bytes: u64,
    /// Requests of the whole session, redirect hops included.
    pub requests: u64,
    /// Counts from before.
    pub quotas: Vec<QuotaState>,
}

/// Keys, what they used to be, and the scrubber for all of them.
struct KeyRing {
    keys: Keys,
    retired: Vec<Secret>,
    scrubber: Scrubber,
}

impl KeyRing {
    fn new(keys: Keys, retired: Vec<Secret>) -> Self {
        let scrubber = Scrubber::new(keys.secrets().chain(&retired).map(Secret::expose));
        Self { keys, retired, scrubber }
    }
}

#[derive(Default)]
struct Watch {
    seen: Seen,
    last: Option<Last>,
}

/// One run's way out.
pub struct Session {
    egress: Arc<Egress>,
    connection: Option<ConnectionId>,
    profile: String,
    response_bytes: u64,
    budget: u64,
    ring: RwLock<Arc<KeyRing>>,
    quotas: Quotas,
    watch: Mutex<Watch>,
}

/// A request whose every part was accepted.
struct Plan {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    recipe: Option<Arc<Recipe>>,
    follow: bool,
}

impl Session {
    pub(crate) fn new(egress: Arc<Egress>, options: SessionOptions) -> Self {
        let SessionOptions { app, connection, profile, keys, response_bytes, requests, quotas } = options;
        let quotas = Quotas::new(&egress.manifest().quotas, &egress.shared().quotas, app, &quotas);
        let ring = RwLock::new(Arc::new(KeyRing::new(keys, Vec::new())));
        Self { egress, connection, profile, response_bytes, budget: requests, ring, quotas, watch: Mutex::default() }
    }

    /// Sends one request of the guest.
    ///
    /// # Errors
    /// The contract's `http.error`; `Denied` means that nothing was sent to the place it names.
    pub async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let mut deadline = Deadline::after(self.egress.timeouts().whole);
        let outcome = match self.plan(request) {
            Ok(plan) => self.run(plan, &mut deadline).await,
            Err(denied) => Err(FetchError::Denied(denied)),
        };
        if let Err(FetchError::Denied(why)) = &outcome {
            let mut watch = self.watching();
            watch.seen.denied += 1;
            watch.seen.refusal = Some(why.clone());
            drop(watch);
            tracing::debug!(connector = self.egress.connector(), connection = ?self.connection, "{why}");
        }
        outcome
    }

    /// Sends several: at most 64, at most 8 under way, answers in order.
    pub async fn fetch_all(&self, requests: Vec<Request>) -> Vec<Result<Response, FetchError>> {
        if requests.len() > MAX_REQUESTS_AT_ONCE {
            let why = format!("fetch-all takes at most {MAX_REQUESTS_AT_ONCE} requests, and {} came: nothing was sent", requests.len());
            return requests.iter().map(|_| Err(FetchError::Other(why.clone()))).collect();
        }
        let places = Semaphore::new(IN_FLIGHT);
        let one = async |request: Request| {
            // The semaphore is never closed, so a permit always comes.
            let _place = places.acquire().await;
            self.fetch(request).await
        };
        join_all(requests.into_iter().map(one)).await
    }

    /// What the gate saw so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.watching().seen.clone()
    }

    /// The last answer in a few words, scrubbed: method, URL without query, status, type, size and the beginning of the body.
    #[must_use]
    pub fn excerpt(&self) -> Option<String> {
        let ring = self.ring();
        self.watching().last.as_ref().map(|last| last.excerpt(&ring.scrubber))
    }

    /// When the first request went out since the last call, ms since the epoch: what was fetched meanwhile is as of then.
    pub fn take_as_of(&self) -> Option<i64> {
        self.watching().seen.first_request_at.take()
    }

    /// Counts of all quotas, to be stored.
    #[must_use]
    pub fn quotas(&self) -> Vec<QuotaState> {
        self.quotas.states()
    }

    /// Puts in a renewed key. The old value is still scrubbed from answers.
    pub fn replace_key(&self, name: &str, value: Secret) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut keys = ring.keys.duplicate();
        let mut retired: Vec<Secret> = ring.retired.iter().map(Secret::duplicate).collect();
        retired.extend(keys.replace(name, value));
        *ring = Arc::new(KeyRing::new(keys, retired));
    }

    /// Takes this session's secrets out of a text (a log line of the guest, a failure's message).
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        self.ring().scrubber.text(text).into_owned()
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn watching(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that can be refused before anything is sent.
    fn plan(&self, request: Request) -> Result<Plan, String> {
        let Request { method, url, headers, body, credential, follow_redirects } = request;
        let connector = self.egress.connector();
        let parsed = Grant::parse_url(&url).map_err(|why| refusal(connector, &method, &shown_text(&url), &why.to_string(), None))?;
        let deny = |why: &str, next: Option<&str>| refusal(connector, &method, &shown(&parsed), why, next);
        let form = form_of(&headers, body.as_deref()).map_err(|why| deny(why, None))?;
        if let Decision::Denied(text) = self.egress.grant().decide_with_form(&method, &parsed, &form) {
            return Err(text);
        }
        let recipe = credential.as_deref().map(|name| self.recipe_for(name, &method, &parsed)).transpose()?;
        let headers =
            headers::from_guest(&headers, recipe.is_some(), &|name| self.egress.owns_header(name)).map_err(|why| deny(&why, None))?;
        if body.as_ref().is_some_and(|b| b.len() > MAX_BODY_BYTES) {
            return Err(deny(&format!("its body is larger than {MAX_BODY_BYTES} bytes"), None));
        }
        let applies = self.egress.recipes_of(&self.profile).filter(|r| r.owns_params() && r.matches(&method, &parsed)).chain(&recipe);
        for one in applies {
            if let Some(name) = one.owned_in(&parsed, &headers, body.as_deref()) {
                let next = format!("the recipe {} writes it: leave it out, and name the recipe in `credential`", one.name());
                return Err(deny(&format!("the parameter {name} is not a connector's to write"), Some(&next)));
            }
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| deny("there is no such method", None))?;
        Ok(Plan { method, url: parsed, headers, body: body.map(Bytes::from), recipe, follow: follow_redirects })
    }

    fn recipe_for(&self, name: &str, method: &str, url: &Url) -> Result<Arc<Recipe>, String> {
        let connector = self.egress.connector();
        let named: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
        let Some(recipe) = self.egress.recipe(name, &self.profile) else {
            let why = format!("there is no recipe “{named}” for the profile {}", self.profile);
            return Err(refusal(
                connector,
                method,
                &shown(url),
                &why,
                Some("the manifest's [[attach]] names them, each for its `profiles`"),
            ));
        };
        if recipe.matches(method, url) {
            return Ok(Arc::clone(recipe));
        }
        let places: Vec<String> = recipe.places().collect();
        let next = format!("it attaches to: {}\n  it is not sent without the key either", places.join(", "));
        Err(refusal(connector, method, &shown(url), &format!("the recipe “{named}” does not attach there"), Some(&next)))
    }

    /// Sends the planned request and follows where it leads.
    async fn run(&self, mut plan: Plan, deadline: &mut Deadline) -> Result<Response, FetchError> {
        let mut waited = 0;
        // The recipe that the guest named: its parameters are stripped from what comes back, also where it is no longer attached.
        let named = plan.recipe.clone();
        for hop in 0..=MAX_HOPS {
            let ring = self.ring();
            let outgoing = self.dress(&plan, &ring.keys)?;
            let real = outgoing.url.clone();
            let mut taken = self.take(&plan.url, deadline, &mut waited).await?;
            self.spend()?;
            taken.sent();
            let sent = self.egress.wire().send(outgoing, deadline).await;
            let response = sent.map_err(|why| self.named_refusal(&plan, &real, why))?;
            self.watch_answer(&plan, response.status().as_u16(), response.headers(), &taken);
            let inbound = Inbound {
                upstreams: self.egress.upstreams(),
                recipe: named.as_deref(),
                scrubber: &ring.scrubber,
                original: &plan.url,
                real: &real,
            };
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION).filter(|_| plan.follow && redirect::is_redirect(status));
            if let Some(location) = location {
                if hop == MAX_HOPS {
                    return Err(FetchError::Other(format!("more than {MAX_HOPS} redirects, the last from {}", shown(&plan.url))));
                }
                let next = location.to_str().ok().and_then(|text| inbound.location(text));
                let next = next.ok_or_else(|| FetchError::Other(format!("{} redirects to what is no URL", shown(&plan.url))))?;
                plan = self.next(plan, status, &next)?;
                continue;
            }
            let answer = answer::read(response, &plan.method, self.response_bytes, self.egress.timeouts(), deadline).await?;
            drop(taken);
            self.remember(&plan, &answer);
            return Ok(inbound.response(&plan.method, answer));
        }
        Err(FetchError::Other(format!("more than {MAX_HOPS} redirects")))
    }

    /// The request as it goes out: the gate's own headers, the key, the upstream.
    fn dress(&self, plan: &Plan, keys: &Keys) -> Result<Outgoing, FetchError> {
        let mut draft =
            Draft { method: plan.method.clone(), url: plan.url.clone(), headers: plan.headers.clone(), body: plan.body.clone() };
        draft.headers.entry(USER_AGENT).or_insert_with(|| self.egress.user_agent());
        draft.headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        draft.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(decode::OFFERED));
        if let Some(recipe) = &plan.recipe {
            let applied = recipe.apply(keys, &mut draft);
            applied
                .map_err(|why| FetchError::Denied(refusal(self.egress.connector(), plan.method.as_str(), &shown(&plan.url), &why, None)))?;
        }
        let target = self.egress.upstreams().forward(draft.url);
        Ok(Outgoing { method: draft.method, url: target.url, open: target.open, headers: draft.headers, body: draft.body })
    }

    /// Takes one request from every quota that counts it, waiting a little where that helps.
    async fn take(&self, url: &Url, deadline: &Deadline, waited: &mut u64) -> Result<Taken, FetchError> {
        loop {
            let ms = match self.quotas.take(url, self.egress.shared().clock.now()) {
                Ok(taken) => return Ok(taken),
                Err(ms) => ms,
            };
            let until = Instant::now() + Duration::from_millis(ms);
            if waited.saturating_add(ms) > LONGEST_WAIT_MS || deadline.is_before(until) {
                return Err(FetchError::QuotaExhausted(ms));
            }
            *waited += ms;
            sleep(Duration::from_millis(ms)).await;
        }
    }

    /// Counts one request against the session's budget.
    fn spend(&self) -> Result<(), FetchError> {
        let mut watch = self.watching();
        if watch.seen.requests >= self.budget {
            return Err(FetchError::Other(format!(
                "request limit: this run may send {} requests, and has (limits.requests in plugins.toml)",
                self.budget
            )));
        }
        watch.seen.requests += 1;
        if watch.seen.first_request_at.is_none() {
            watch.seen.first_request_at = Some(self.egress.shared().clock.now());
        }
        Ok(())
    }

    fn watch_answer(&self, plan: &Plan, status: u16, headers: &HeaderMap, taken: &Taken) {
        let now = self.egress.shared().clock.now();
        taken.learn(headers, now);
        let mut watch = self.watching();
        watch.seen.last_status = Some(status);
        if status == 401 && plan.recipe.is_some() {
            watch.seen.unauthorized_on_attached = true;
        }
        if matches!(status, 403 | 429) {
            let said = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| retry_after(v, now));
            let until = said.or_else(|| taken.exhausted_until());
            watch.seen.rate_limited_until = watch.seen.rate_limited_until.max(until);
        }
    }

    fn remember(&self, plan: &Plan, answer: &Answer) {
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let last = Last::new(plan.method.clone(), plan.url.clone(), answer.status, kind, &answer.body);
        self.watching().last = Some(last);
    }

    /// A refusal of the wire in the form of all refusals.
    fn named_refusal(&self, plan: &Plan, real: &Url, why: NoAnswer) -> FetchError {
        if let Some(reason) = why.tls {
            let reason = format!("{} could not be asked: {reason}", real.origin().ascii_serialization());
            let before = self.watching().seen.tls.replace(reason.clone());
            if before.is_none() {
                tracing::warn!(connector = self.egress.connector(), connection = ?self.connection, "{reason}");
            }
        }
        match why.error {
            FetchError::Denied(why) => {
                let next = "an operator who means it sets `allow-private = true` on an upstream for exactly this prefix";
                FetchError::Denied(refusal(self.egress.connector(), plan.method.as_str(), &shown(&plan.url), &why, Some(next)))
            }
            other => other,
        }
    }

    /// The request that a redirect asks for, decided like any other.
    fn next(&self, plan: Plan, status: u16, to: &Url) -> Result<Plan, FetchError> {
        let (method, keeps_body) = redirect::next_method(status, &plan.method);
        let from = shown(&plan.url);
        let deny = |why: &str| {
            FetchError::Denied(refusal(self.egress.connector(), method.as_str(), &shown(to), why, Some(&format!("redirected from {from}"))))
        };
        let url = Grant::parse_url(to.as_str()).map_err(|why| deny(&why.to_string()))?;
        if redirect::gives_up_tls(&plan.url, &url) {
            return Err(deny("a redirect never leads from https to http"));
        }
        if let Decision::Denied(text) = self.egress.grant().decide(method.as_str(), &url) {
            return Err(FetchError::Denied(format!("{text}\n  redirected from {from}")));
        }
        let mut headers = plan.headers;
        if !redirect::same_origin(&plan.url, &url) {
            headers::for_another_origin(&mut headers);
        }
        if !keeps_body {
            headers.remove(CONTENT_TYPE);
        }
        let stays = redirect::same_origin(&plan.url, &url);
        let recipe = plan.recipe.filter(|r| stays && r.matches(method.as_str(), &url));
        Ok(Plan { method, url, headers, body: plan.body.filter(|_| keeps_body), recipe, follow: true })
    }
}

/// A guest's body as a form, where a server might read it as one: the grant tells calls apart by their parameters, wherever these stand.
fn form_of(headers: &Pairs, body: Option<&[u8]>) -> Result<Pairs, &'static str> {
    let Some(body) = body else { return Ok(Pairs::new()) };
    let kinds: Vec<String> =
        headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-type")).map(|(_, v)| v.trim().to_ascii_lowercase()).collect();
    if kinds.len() > 1 {
        return Err("it has more than one content-type");
    }
    let kind = kinds.first().map(String::as_str).unwrap_or_default();
    if kind.starts_with("multipart/") {
        return Err("a multipart body hides its parameters from the grant: send a form or JSON");
    }
    let certainly_json = kind.starts_with("application/json") || kind.split(';').next().is_some_and(|k| k.trim().ends_with("+json"));
    if certainly_json {
        return Ok(Pairs::new());
    }
    Ok(form_urlencoded::parse(body).map(|(n, v)| (n.into_owned(), v.into_owned())).collect())
}
