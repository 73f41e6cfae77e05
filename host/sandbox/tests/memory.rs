//! What attacks took is given back. In a program of its own, since it measures the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::attacks::{self, Enter};
use common::engine;
use sluice_model::Limits;

/// Memory of this process that is really there, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_fifty_rounds_of_attacks_memory_is_what_it_was() {
    let engine = engine();
    let attacks = attacks::load(&engine).await;
    let mut after_few = 0;
    for round in 1..=50 {
        for attack in attacks.iter().filter(|attack| attack.attack.enter != Enter::Describe) {
            // Shorter still: it is about what is left behind.
            let limits = Limits {
                cpu_ms: attack.attack.limits.cpu_ms.min(5),
                wall_ms: 3_000.min(attack.attack.limits.wall_ms),
                ..attack.attack.limits.clone()
            };
            let ended = attack.run(&limits).await;
            assert!(ended.error.is_some(), "{}", attack.attack.name);
        }
        if round == 5 {
            after_few = resident();
        }
    }
    let after_many = resident();
    println!("{} KiB after 5 rounds, {} KiB after 50", after_few >> 10, after_many >> 10);
    assert!(after_many <= after_few + after_few / 10, "{after_few} bytes after 5 rounds, {after_many} after 50");
}
