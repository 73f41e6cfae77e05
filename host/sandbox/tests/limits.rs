//! Each bound of a call: a connector that passes it is ended with the bound's name, and the host comes back with what was done before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Fixture, NOW, TestHost, engine, sync, syncing, taken};
use sluice_model::{Limits, Outcome, limits::MAX_PROBLEMS};
use sluice_sandbox::{CallError, Level};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn limit(error: &CallError) -> (&'static str, u64, u64) {
    match error {
        CallError::Limit { name, limit, used } => (name, *limit, *used),
        other => panic!("no limit: {other:?}"),
    }
}

const ONE_CHECKPOINT: &str = "(call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))";

#[tokio::test]
async fn a_well_behaved_call_completes_and_says_what_it_used() {
    let (report, host) = sync(&syncing(ONE_CHECKPOINT), TestHost::default(), &Limits::default()).await;
    assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    assert_eq!(host.asked, ["checkpoint None"]);
    assert_eq!(report.usage.host_calls, 1);
    assert_eq!(report.usage.memory_bytes, 4 * 65536);
    assert!(report.usage.cpu_us > 0);
    assert!(report.log.is_empty());
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_cpu_budget_and_lets_its_neighbours_work() {
    let limits = Limits { cpu_ms: 150, ..Limits::default() };
    let turns = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&turns);
    // One thread for both: the neighbour only gets on because the loop is made to yield.
    let neighbour = tokio::spawn(async move {
        loop {
            theirs.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let module = engine().load(&syncing(&format!("{ONE_CHECKPOINT} (loop $forever (br $forever))"))).await.unwrap();
    turns.store(0, Ordering::Relaxed);
    let (report, host) = taken(module.sync(Box::new(TestHost::default()), &limits).await);
    neighbour.abort();
    let (name, value, used) = limit(&report.result.unwrap_err());
    assert_eq!((name, value), ("cpu-ms", 150));
    assert!((150..400).contains(&used), "{used}");
    assert_eq!(host.asked, ["checkpoint None"]);
    assert!(turns.load(Ordering::Relaxed) >= 5, "{turns:?}");
}

#[tokio::test]
async fn a_request_that_never_comes_back_ends_at_the_wall_and_costs_no_cpu() {
    let limits = Limits { wall_ms: 200, ..Limits::default() };
    let zeros = "(i32.const 0)".repeat(13);
    let body = format!("(call $fetch {zeros} (i32.const 1536))");
    let began = Instant::now();
    let (report, host) = sync(&syncing(&body), TestHost { stall: true, ..TestHost::default() }, &limits).await;
    assert_eq!(limit(&report.result.unwrap_err()).0, "wall-ms");
    assert_eq!(host.asked, ["fetch "]);
    assert!(report.usage.cpu_ms < 50, "{:?}", report.usage);
    assert!(report.usage.wall_ms >= 200 && began.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_sleep_of_wasi_ends_at_the_wall_and_its_clock_is_the_hosts() {
    let fixture = Fixture {
        imports: r#"
          (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
          (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
          (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
        sync:
            "(call $wall (i32.const 1536)) (call $state-set (i32.const 4096) (i32.const 1) (i32.const 1536) (i32.const 12) (i32.const 1600))
               (if (i64.ne (i64.load (i32.const 1536)) (i64.const 1795000000)) (then unreachable))
               (call $block (call $timer (i64.const 3600000000000)))",
        ..Fixture::default()
    };
    assert_eq!(NOW, 1_795_000_000_000);
    let limits = Limits { wall_ms: 200, ..Limits::default() };
    let (report, _) = sync(&fixture.build(), TestHost::default(), &limits).await;
    assert_eq!(limit(&report.result.unwrap_err()), ("wall-ms", 200, report.usage.wall_ms));
}

/// Go's runtime reads its clock before anything else, and takes nought for a broken one.
#[tokio::test]
async fn the_steady_clock_is_never_nought_and_stands_still_where_nothing_may_depend_on_it() {
    let fixture = Fixture {
        imports: r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $clock (result i64)))"#,
        describe: "(if (i64.ne (call $clock) (i64.const 1)) (then unreachable))",
        sync: "(local $then i64) (local.set $then (call $clock)) (if (i64.eqz (local.get $then)) (then unreachable))
               (loop $until (br_if $until (i64.le_u (call $clock) (local.get $then))))",
        ..Fixture::default()
    };
    engine().load(&fixture.build()).await.unwrap().describe().await.unwrap();
    let (report, _) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    report.result.unwrap().unwrap();
}

#[tokio::test]
async fn memory_ends_at_its_bound_over_all_growth() {
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    let (report, _) = sync(&syncing("(loop $more (drop (memory.grow (i32.const 16))) (br $more))"), TestHost::default(), &limits).await;
    let (name, value, used) = limit(&report.result.unwrap_err());
    assert_eq!((name, value), ("memory-bytes", 8 << 20));
    assert!(used > value && report.usage.memory_bytes <= value, "{used} {:?}", report.usage);
}

#[tokio::test]
async fn no_setting_gives_more_memory_than_the_engine_was_made_for() {
    let limits = Limits { memory_bytes: 1 << 40, ..Limits::default() };
    let (report, _) = sync(&syncing("(loop $more (drop (memory.grow (i32.const 256))) (br $more))"), TestHost::default(), &limits).await;
    assert_eq!(limit(&report.result.unwrap_err()).1, 256 << 20);
}

#[tokio::test]
async fn a_table_ends_at_its_bound() {
    let body = "(loop $more (drop (table.grow $t (ref.null func) (i32.const 10000))) (br $more))";
    let fixture = Fixture { sync: body, more: "(table $t 1 funcref)", ..Fixture::default() };
    let (report, _) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    assert_eq!(limit(&report.result.unwrap_err()).0, "table-elements");
}

#[tokio::test]
async fn the_call_after_the_last_allowed_one_ends_the_run() {
    let body = format!("(loop $more {ONE_CHECKPOINT} (br $more))");
    let module = engine().load(&syncing(&body)).await.unwrap();
    for n in [0, 1, 7, 500] {
        let limits = Limits { host_calls: n, ..Limits::default() };
        let (report, host) = taken(module.sync(Box::new(TestHost::default()), &limits).await);
        assert_eq!(limit(&report.result.unwrap_err()), ("host-calls", n, n + 1));
        assert_eq!(host.asked.len() as u64, n);
        assert_eq!(report.usage.host_calls, n);
    }
}

#[tokio::test]
async fn a_crash_names_its_functions_and_leaves_the_next_call_alone() {
    let more = "(func $walk_pages (call $boom)) (func $boom (unreachable))";
    let body = format!("{ONE_CHECKPOINT} (call $walk_pages)");
    let fixture = Fixture { sync: &body, more, ..Fixture::default() };
    let module = engine().load(&fixture.build()).await.unwrap();
    for _ in 0..3 {
        let (report, host) = taken(module.sync(Box::new(TestHost::default()), &Limits::default()).await);
        let Err(CallError::Trap { message, frames }) = report.result else { panic!("{:?}", report.result) };
        assert!(message.contains("gave up without a word"), "{message}");
        assert_eq!(frames[..2], ["boom", "walk_pages"]);
        assert_eq!(host.asked, ["checkpoint None"]);
    }
}

#[tokio::test]
async fn a_crash_quotes_the_last_words_harmlessly_and_names_where_it_began() {
    let more = "(func $walk_pages (call $std::process::abort)) (func $std::process::abort (unreachable))";
    let fixture =
        Fixture { sync: "(call $log (i32.const 4) (i32.const 5000) (i32.const 7)) (call $walk_pages)", more, ..Fixture::default() };
    let (report, _) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    let said = report.result.unwrap_err().to_string();
    assert_eq!(said, "the connector crashed: it gave up: a\\u{1b}[2J\\nb (in walk_pages)");
    assert_eq!(report.closing[0].text, said);
}

#[tokio::test]
async fn endless_recursion_is_a_crash_of_the_connector() {
    let fixture = Fixture { sync: "(call $deep)", more: "(func $deep (call $deep) (call $deep))", ..Fixture::default() };
    let (report, _) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    let Err(CallError::Trap { message, .. }) = report.result else { panic!("{:?}", report.result) };
    assert!(message.contains("call stack"), "{message}");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_harmless() {
    let limits = Limits { log_bytes: 2000, cpu_ms: 200, ..Limits::default() };
    let body = "(loop $more (call $log (i32.const 3) (i32.const 5000) (i32.const 7)) (br $more))";
    let (report, _) = sync(&syncing(body), TestHost::default(), &limits).await;
    assert!(matches!(report.result, Err(CallError::Limit { .. })), "{:?}", report.result);
    let (last, lines) = report.log.split_last().unwrap();
    assert!(last.text.contains("bound of 2000 bytes"), "{last:?}");
    assert_eq!((lines[0].at, lines[0].level, lines[0].text.as_str()), (NOW, Level::Warn, "a\\u{1b}[2J\\nb"));
    assert!(lines.len() < 130);
}

#[tokio::test]
async fn a_call_that_carries_too_much_ends_the_run_before_it_is_copied() {
    // 60 MiB in one value, within the memory bound.
    let body = "(drop (memory.grow (i32.const 1000)))
        (call $state-set (i32.const 4096) (i32.const 4) (i32.const 131072) (i32.const 62914560) (i32.const 1536))";
    let (report, host) = sync(&syncing(body), TestHost::default(), &Limits::default()).await;
    let (name, value, _) = limit(&report.result.unwrap_err());
    assert_eq!((name, value), ("call-bytes", 32 << 20));
    assert!(host.asked.is_empty());
}

#[tokio::test]
async fn a_list_longer_than_memory_is_a_crash_of_the_connector() {
    for length in [0x7fff_ffffu32, 0xffff_ffff, 100_000] {
        let body = format!("(call $record (i32.const 8192) (i32.const {length}) (i32.const 1536))");
        let (report, host) = sync(&syncing(&body), TestHost::default(), &Limits::default()).await;
        assert!(matches!(report.result, Err(CallError::Trap { .. })), "{:?}", report.result);
        assert!(host.asked.is_empty());
    }
}

#[tokio::test]
async fn only_fifty_problems_are_passed_on_and_their_texts_are_cut() {
    // kind, scope, code, message (100 KiB), no retry, no url, no metric
    let call = "(call $problem (i32.const 8) (i32.const 0) (i32.const 5000) (i32.const 7) (i32.const 8192) (i32.const 102400)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let fixture = Fixture {
        sync: &format!(
            "(local $n i32) (loop $more {call} (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 300))))"
        ),
        ..Fixture::default()
    };
    let (report, host) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    report.result.unwrap().unwrap();
    assert_eq!(host.asked.len(), MAX_PROBLEMS);
    assert!(host.asked[0].len() < 15_000, "{}", host.asked[0].len());
}

#[tokio::test]
async fn two_calls_never_share_anything() {
    // The second time round, the cell would no longer be zero.
    let fixture = Fixture {
        sync: "(if (i32.load (i32.const 3000)) (then unreachable)) (i32.store (i32.const 3000) (i32.const 1))
               (if (global.get $seen) (then unreachable)) (global.set $seen (i32.const 1))
               (if (i32.ne (table.size $t) (i32.const 1)) (then unreachable))
               (drop (table.grow $t (ref.null func) (i32.const 5)))
               (if (i32.ne (memory.size) (i32.const 4)) (then unreachable)) (drop (memory.grow (i32.const 3)))",
        more: "(global $seen (mut i32) (i32.const 0)) (table $t 1 funcref)",
        ..Fixture::default()
    };
    let module = engine().load(&fixture.build()).await.unwrap();
    for _ in 0..20 {
        let report = module.sync(Box::new(TestHost::default()), &Limits::default()).await;
        assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    }
    let many: Vec<_> = (0..16)
        .map(|_| {
            let module = module.clone();
            tokio::spawn(async move { module.sync(Box::new(TestHost::default()), &Limits::default()).await.result })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.unwrap().unwrap().unwrap(), Outcome::Complete);
    }
}

#[tokio::test]
async fn a_panic_of_the_hosts_own_becomes_an_error_and_the_host_comes_back() {
    let body = format!("{ONE_CHECKPOINT} (call $state-set (i32.const 4096) (i32.const 4) (i32.const 4096) (i32.const 4) (i32.const 1536))");
    let module = engine().load(&syncing(&body)).await.unwrap();
    let (report, host) = taken(module.sync(Box::new(TestHost { panic: true, ..TestHost::default() }), &Limits::default()).await);
    let Err(CallError::Host(text)) = report.result else { panic!("{:?}", report.result) };
    assert!(text.contains("the state is broken"), "{text}");
    assert_eq!(host.asked, ["checkpoint None"]);
    let (report, host) = taken(module.sync(Box::new(TestHost::default()), &Limits::default()).await);
    assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    assert_eq!(host.asked, ["checkpoint None", "state mani 4"]);
}

#[tokio::test]
async fn a_cancelled_connector_that_keeps_computing_is_ended() {
    let (report, _) =
        sync(&syncing("(loop $forever (br $forever))"), TestHost { cancelled: true, ..TestHost::default() }, &Limits::default()).await;
    assert_eq!(report.result.unwrap_err(), CallError::Cancelled);
}

#[tokio::test]
async fn describing_returns_the_manifest_and_nothing_of_the_contract_can_be_used() {
    let module = engine().load(&syncing("")).await.unwrap();
    assert_eq!(module.describe().await.unwrap(), "manifest = 1");
    let uses = [
        ("(drop (call $now))", "task.now"),
        ("(call $log (i32.const 0) (i32.const 0) (i32.const 0))", "log.write"),
        (ONE_CHECKPOINT, "progress.checkpoint"),
    ];
    for (describe, function) in uses {
        let module = engine().load(&Fixture { describe, ..Fixture::default() }.build()).await.unwrap();
        assert_eq!(module.describe().await.unwrap_err(), CallError::Refused(function.into()));
    }
}

#[tokio::test]
async fn describing_has_one_second_of_cpu_and_64_kib() {
    let module = engine().load(&Fixture { describe: "(loop $forever (br $forever))", ..Fixture::default() }.build()).await.unwrap();
    assert_eq!(limit(&module.describe().await.unwrap_err()).1, 1000);
    let long = "(i32.store (i32.const 2048) (i32.const 4096)) (i32.store (i32.const 2052) (i32.const 65537)) (return (i32.const 2048))";
    let module = engine().load(&Fixture { describe: long, ..Fixture::default() }.build()).await.unwrap();
    assert_eq!(module.describe().await.unwrap_err(), CallError::Limit { name: "manifest-bytes", limit: 65536, used: 65537 });
}

#[tokio::test]
async fn identifying_records_nothing() {
    // An empty list would be answered without a word: the answer's first byte says whether it was an error.
    let fixture = Fixture {
        identify: "(call $record (i32.const 8192) (i32.const 0) (i32.const 1536))
                   (if (i32.eqz (i32.load8_u (i32.const 1536))) (then unreachable))",
        ..Fixture::default()
    };
    let module = engine().load(&fixture.build()).await.unwrap();
    let (report, host) = taken(module.identify(Box::new(TestHost::default()), &Limits::default()).await);
    assert_eq!(report.result.unwrap().unwrap().id, None);
    assert!(host.asked.is_empty());
}

#[tokio::test]
async fn more_requests_at_once_than_the_contract_allows_end_the_run() {
    let fixture = Fixture {
        imports: r#"(import "sluice:connector/http@0.1.0" "fetch-all" (func $fetch-all (param i32 i32 i32)))"#,
        sync: "(call $fetch-all (i32.const 8192) (i32.const 64) (i32.const 1536)) (call $fetch-all (i32.const 8192) (i32.const 65) (i32.const 1536))",
        ..Fixture::default()
    };
    let (report, host) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    assert_eq!(limit(&report.result.unwrap_err()), ("requests-at-once", 64, 65));
    assert_eq!(host.asked.len(), 64);
}

#[tokio::test]
async fn after_a_long_pause_the_ticks_come_again() {
    let module = engine().load(&syncing("(loop $forever (br $forever))")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let limits = Limits { cpu_ms: 50, wall_ms: 30_000, ..Limits::default() };
    let report = module.sync(Box::new(TestHost::default()), &limits).await;
    assert_eq!(limit(&report.result.unwrap_err()).0, "cpu-ms");
}
