//! What a command about modules says on standard error while connectors are compiled for it: whoever looks at a silent terminal presses Ctrl-C.

use super::terminal::inert;
use crate::{
    config::Config,
    control::{Answer, Client},
};
use serde_json::Value;
use std::time::Duration;

/// The first word; the next ones after twice as long each.
const FIRST_WORD: Duration = Duration::from_secs(2);

async fn meanwhile<T>(work: impl Future<Output = T>, word: impl AsyncFn() -> Option<String>) -> T {
    let mut work = std::pin::pin!(work);
    let mut pause = FIRST_WORD;
    loop {
        if let Ok(done) = tokio::time::timeout(pause, &mut work).await {
            return done;
        }
        if let Some(word) = word().await {
            eprintln!("sluice: {}", inert(&word));
        }
        pause = pause.saturating_mul(2);
    }
}

/// Reaches the running host, or opens the data folder here: then connectors are loaded first.
pub async fn opened(config: Config) -> Answer<Client> {
    let word = "reading the modules folder; what is new in it is compiled first, which happens once";
    meanwhile(Client::open(config, false), async || Some(word.to_owned())).await
}

/// Waits for an answer about a module, and says how far its examination is.
pub async fn told<T>(client: &Client, name: &str, work: impl Future<Output = T>) -> T {
    let path: String = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).collect();
    let path = format!("/v1/modules/{path}");
    meanwhile(work, async || {
        let row: Value = client.get(&path).await.ok()?;
        let row = row.get("waiting").filter(|waiting| waiting.is_object()).unwrap_or(&row);
        let line = row.get("line").filter(|_| row.get("examined_for_ms").is_some_and(Value::is_u64))?;
        Some(format!("{name}: {}", line.as_str()?))
    })
    .await
}
