//! A real connector, built by the real toolchain, where it has been built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{TestHost, engine, taken};
use sluice_model::Limits;
use std::path::Path;
use std::time::Instant;

#[tokio::test]
async fn the_github_connector_loads_describes_itself_and_meets_a_refused_token() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/connectors/github.wasm");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: build the connectors first (cargo xtask build)");
        return;
    };
    let module = engine().load(&bytes).await.unwrap();
    let manifest = module.describe().await.unwrap();
    assert!(manifest.contains("name = \"github\""), "{manifest}");
    assert!(module.exports().identity && module.exports().source);
    // The host answers every request with 401: whatever the connector makes of it, it is a verdict and not a crash.
    let (report, host) = taken(module.identify(Box::new(TestHost::default()), &Limits::default()).await);
    let failure = report.result.unwrap().unwrap_err();
    assert!(!failure.message.is_empty());
    assert!(host.asked[0].starts_with("fetch https://"), "{:?}", host.asked);
    let began = Instant::now();
    for _ in 0..100 {
        module.describe().await.unwrap();
    }
    eprintln!("instantiate, call and drop: {} µs each, in this build", began.elapsed().as_micros() / 100);
}
