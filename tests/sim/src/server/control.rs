//! `/_control/…`: what a test in another process says to a simulator, in JSON.
//!
//! | request | does |
//! | --- | --- |
//! | `POST /_control/do` | one command of the provider, `{"do": "…", …}`; answers its result |
//! | `POST /_control/fault` | sets a fault |
//! | `GET`, `DELETE /_control/faults` | shows, removes the faults |
//! | `POST /_control/clock` | `{"advance": milliseconds}`; answers `{"now": …}` |
//! | `GET`, `DELETE /_control/log` | shows, forgets the requests so far |
//! | `GET /_control/state` | users, applications, credentials, counters |
//! | `GET /_control/truth?user=NAME` | the true data of a user |

use super::{Provider, Shared, lock};
use crate::fault::Fault;
use crate::http::{Answer, Call};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

pub(super) fn answer<P: Provider>(shared: &Shared<P>, call: &Call) -> Answer {
    match reply(shared, call) {
        Ok(value) => Answer::json(200, &value),
        Err(text) => Answer::json(400, &json!({"error": text})),
    }
}

fn reply<P: Provider>(shared: &Shared<P>, call: &Call) -> Result<Value, String> {
    let body = || call.json().ok_or_else(|| "the body is not JSON".to_owned());
    let name = call.path.trim_start_matches("/_control/");
    Ok(match (call.method.as_str(), name) {
        ("POST", "do") => shared.provider.command(body()?)?,
        ("POST", "fault") => {
            let fault: Fault = serde_json::from_value(body()?).map_err(|error| error.to_string())?;
            lock(&shared.faults).add(fault);
            json!({})
        }
        ("GET", "faults") => json!(lock(&shared.faults).list()),
        ("DELETE", "faults") => {
            lock(&shared.faults).clear();
            json!({})
        }
        ("POST", "clock") => {
            shared.clock.advance(body()?.get("advance").and_then(Value::as_i64).unwrap_or(0));
            json!({"now": shared.clock.now()})
        }
        ("GET", "clock") => json!({"now": shared.clock.now()}),
        ("GET", "log") => json!(lock(&shared.log).entries()),
        ("DELETE", "log") => {
            lock(&shared.log).clear();
            json!({})
        }
        ("GET", "state") => json!({
            "now": shared.clock.now(),
            "requests": lock(&shared.log).count(),
            "bench-requests": shared.bench_requests.load(Ordering::Relaxed),
            "most-in-flight": shared.most_in_flight.load(Ordering::Relaxed),
            "provider": shared.provider.state(),
        }),
        ("GET", "truth") => {
            let user = call.param("user").unwrap_or_default();
            shared.provider.truth(user).ok_or_else(|| format!("there is no user {user:?}"))?
        }
        (method, name) => return Err(format!("{method} {name} is no control request")),
    })
}
