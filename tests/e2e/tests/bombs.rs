//! Files that are small and endless work for a compiler, dropped into the folder of a real host: each is compiled or refused within its budget, and the
//! host answers all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use sluice_e2e::{
    PATIENCE,
    folder::{Folder, Settings},
};
use sluice_fixtures::{Stranger, bulk};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What a machine with other things to do may take for an answer. How quick it is on a quiet one is measured elsewhere.
const ANSWERED_IN: Duration = Duration::from_secs(2);
const CPU_SECONDS: u64 = 2;
const MEMORY_MIB: u64 = 1 << 10;

/// Asks for the health until told to stop: how often, and the longest it took.
fn ask_for_health(port: u16, over: Arc<AtomicBool>) -> thread::JoinHandle<(u32, Duration)> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::SeqCst) {
                let began = Instant::now();
                let answer = client.get(format!("http://localhost:{port}/healthz")).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let body = answer.bytes().await.unwrap();
                assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["status"], "ok");
                longest = longest.max(began.elapsed());
                count += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (count, longest)
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_of_growing_size_are_compiled_or_refused_within_their_budget_and_the_host_answers_meanwhile() {
    let limits = format!("[compile]\ncpu-s = {CPU_SECONDS}\nmemory-mib = {MEMORY_MIB}\n");
    let folder = Folder::new(&Settings::default().more(&limits));
    let host = folder.serve();
    let over = Arc::new(AtomicBool::new(false));
    let health = ask_for_health(folder.port, over.clone());
    let mut ended = Vec::new();
    for blocks in [1, 10, 100, 1_000, 5_000] {
        let name = format!("bomb-{blocks}");
        let bytes = Stranger { name: &name, more: &bulk::bomb(blocks), ..Stranger::default() }.build();
        fs::write(folder.path("beside"), &bytes).unwrap();
        let began = Instant::now();
        fs::rename(folder.path("beside"), folder.path("modules").join(format!("{name}.wasm"))).unwrap();
        let listed = sluice_e2e::eventually(&format!("{name} to be judged"), async || {
            let rows: Vec<Value> = folder.run(&["modules", "list", "--json"]).exits(0).json();
            rows.into_iter().find(|row| row["name"] == name.as_str() && row["state"] != "examining")
        })
        .await;
        let (state, line) = (listed["state"].as_str().unwrap(), listed["line"].as_str().unwrap());
        match state {
            "pending" => ended.push(format!("{blocks}: compiled")),
            "refused" => {
                let budget = [format!("limit of {CPU_SECONDS} seconds of CPU"), format!("limit of {} bytes of memory", MEMORY_MIB << 20)];
                assert!(budget.iter().any(|words| line.contains(words)) && !line.contains('\n'), "{name} ({} bytes): {line}", bytes.len());
                ended.push(format!("{blocks}: refused"));
            }
            other => panic!("{name} is {other}: {line}"),
        }
        eprintln!("{name}, {} bytes: {state} after {} ms", bytes.len(), began.elapsed().as_millis());
    }
    assert!(ended[0].contains("compiled") && ended[4].contains("refused"), "{ended:?}");
    // What was there before them runs, and the host still takes in what is good.
    let rows: Vec<Value> = folder.run(&["modules", "list", "--json"]).exits(0).json();
    assert!(rows.iter().filter(|row| row["state"] == "running").count() == 2, "{rows:?}");
    over.store(true, Ordering::SeqCst);
    let (count, longest) = health.join().expect("the host answers");
    eprintln!("{count} answers, the longest after {} ms", longest.as_millis());
    assert!(count > 20 && longest < ANSWERED_IN, "{count} answers, the longest after {longest:?}");
    assert!(host.terminate().success());
}
