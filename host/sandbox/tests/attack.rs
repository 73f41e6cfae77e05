//! Connectors that mean harm hurt nobody but themselves: each is ended as it must be, and its neighbours' runs go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::attacks::{self, Enter};
use common::{Fixture, Lateness, TestHost, engine, sync, syncing, taken};
use sluice_model::{Limits, Outcome};
use sluice_sandbox::CallError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_ends_with_its_own_error_within_its_limits() {
    let engine = engine();
    let attacks = attacks::load(&engine).await;
    assert!(attacks.len() >= 20);
    let (describing, running): (Vec<_>, Vec<_>) = attacks.iter().partition(|attack| attack.attack.enter == Enter::Describe);
    assert!(describing.len() >= 5 && running.len() >= 20);
    let judged = async |attacks: Vec<&attacks::Loaded>| {
        let mut wrong = Vec::new();
        for attack in attacks {
            let lateness = Lateness::measured();
            let ended = attack.run(&attack.attack.limits).await;
            wrong.extend(attack.judge(&ended, lateness.end()).err());
            // What stands in a log or on a page is one statement, and inert.
            assert!(!ended.text.chars().any(|c| c.is_control() && c != '\n'), "{}", ended.text);
        }
        wrong
    };
    // Beside each other, since one of the first sleeps for the whole ten seconds that it has.
    let (described, ran) = tokio::join!(judged(describing), judged(running));
    let wrong = [described, ran].concat();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbours_runs_complete_while_others_attack() {
    let engine = engine();
    let attacks = Arc::new(attacks::load(&engine).await);
    let good = engine.load(&syncing("(call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))")).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let attackers: Vec<_> = (0..3)
        .map(|_| {
            let (attacks, over) = (Arc::clone(&attacks), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    for attack in attacks.iter().filter(|attack| attack.attack.enter != Enter::Describe) {
                        let ended = attack.run(&attack.attack.limits).await;
                        assert!(ended.error.is_some(), "{}", attack.attack.name);
                    }
                }
            })
        })
        .collect();
    for _ in 0..100 {
        let (report, host) = taken(good.sync(Box::new(TestHost::default()), &Limits::default()).await);
        assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
        assert_eq!(host.asked, ["checkpoint None"]);
    }
    over.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.await.unwrap();
    }
}

/// Threads of this program on which guests compute aside.
#[cfg(target_os = "linux")]
fn aside() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.filter(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == "busy-guest")).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_computes_for_long_does_it_aside_and_whoever_waits_stays() {
    let engine = engine();
    let endless = Arc::new(engine.load(&syncing("(loop $forever (br $forever))")).await.unwrap());
    let limits = Limits { cpu_ms: 600_000, ..Limits::default() };
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let (endless, limits) = (Arc::clone(&endless), limits.clone());
            tokio::spawn(async move { endless.sync(Box::new(TestHost::default()), &limits).await.usage })
        })
        .collect();
    // This program's one worker is free for others meanwhile.
    while aside() < runs.len() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let good = engine.load(&syncing("(call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))")).await.unwrap();
    for _ in 0..20 {
        let (report, _) = taken(good.sync(Box::new(TestHost::default()), &Limits::default()).await);
        assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    }
    // Nobody wants them any more: they end where they are.
    for run in runs {
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
    }
    while aside() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_was_ended_begins_aside_until_it_behaves() {
    let zeros = "(i32.const 0)".repeat(13);
    let module = engine().load(&syncing(&format!("(call $fetch {zeros} (i32.const 1536))"))).await.unwrap();
    let mut aside = Vec::new();
    for stall in [false, true, false, false] {
        let limits = Limits { wall_ms: if stall { 100 } else { 600_000 }, ..Limits::default() };
        let (report, host) = taken(module.sync(Box::new(TestHost { stall, ..TestHost::default() }), &limits).await);
        assert_eq!(report.result.is_err(), stall);
        aside.push(host.threads == ["busy-guest"]);
    }
    assert_eq!(aside, [false, false, true, false]);
}

/// A request of forged parts: what is well formed enough to be judged arrives as it was written, for the gate to judge; nothing of it becomes anything
/// else on the way.
#[tokio::test]
async fn forged_headers_and_recipes_arrive_as_what_they_are() {
    let more = r#"(data (i32.const 9000) "http://169.254.169.254/latest")
        (data (i32.const 9100) "Authorization") (data (i32.const 9120) "Bearer stolen")
        (data (i32.const 9140) "X\r\nHost") (data (i32.const 9160) "evil\r\n\r\nGET /")
        (data (i32.const 9200) "../other/user")
        ;; a list of two headers at 9300: pointer and length of name and value
        (data (i32.const 9300) "\8c\23\00\00\0d\00\00\00\a0\23\00\00\0d\00\00\00\b4\23\00\00\07\00\00\00\c8\23\00\00\0d\00\00\00")"#;
    let body = "(call $fetch (i32.const 9200) (i32.const 2) (i32.const 9000) (i32.const 29) (i32.const 9300) (i32.const 2)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 9200) (i32.const 13) (i32.const 1) (i32.const 1536))";
    let (report, host) = sync(&Fixture { sync: body, more, ..Fixture::default() }.build(), TestHost::default(), &Limits::default()).await;
    report.result.unwrap().unwrap();
    let [request] = host.requests.as_slice() else { panic!("{:?}", host.requests) };
    assert_eq!(request.method, "..");
    assert_eq!(request.url, "http://169.254.169.254/latest");
    assert_eq!(request.headers, [("Authorization".into(), "Bearer stolen".into()), ("X\r\nHost".into(), "evil\r\n\r\nGET /".into())]);
    assert_eq!(request.credential.as_deref(), Some("../other/user"));
    assert_eq!(request.body, None);
}

#[tokio::test]
async fn parts_of_a_request_over_their_bounds_are_answered_and_go_no_further() {
    // method, url, headers, body, credential: pointer and length each
    let over: [(&str, [u32; 13]); 5] = [
        ("method", [8192, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("url", [0, 0, 8192, 16385, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("headers", [0, 0, 0, 0, 8192, 257, 0, 0, 0, 0, 0, 0, 0]),
        ("body", [0, 0, 0, 0, 0, 0, 1, 8192, 16_777_217, 0, 0, 0, 0]),
        ("credential", [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8192, 129, 0]),
    ];
    for (what, parts) in over {
        let parts: String = parts.iter().map(|part| format!("(i32.const {part})")).collect();
        // The answer's first byte says that it is an error, its ninth that it is `denied`.
        let body = format!(
            "(drop (memory.grow (i32.const 300))) (call $fetch {parts} (i32.const 1536))
             (if (i32.ne (i32.load8_u (i32.const 1536)) (i32.const 1)) (then unreachable))
             (if (i32.ne (i32.load8_u (i32.const 1544)) (i32.const 0)) (then unreachable))"
        );
        let (report, host) = sync(&syncing(&body), TestHost::default(), &Limits::default()).await;
        assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete, "{what}");
        assert!(host.asked.is_empty(), "{what}: {:?}", host.asked);
    }
}

#[tokio::test]
async fn names_that_are_not_ones_own_never_reach_key_storage() {
    let imports = r#"(import "sluice:connector/keys@0.1.0" "set" (func $key-set (param i32 i32 i32 i32 i32)))"#;
    let names = ["../other/access-token", "app.api-key", "ACCESS", "a b", "", "access-token\\00", &"a".repeat(65)];
    let mut wrong = String::new();
    let mut data = String::new();
    for (n, name) in names.iter().enumerate() {
        let at = 20_000 + n * 100;
        let length = name.replace("\\00", "0").len();
        data.push_str(&format!("(data (i32.const {at}) \"{name}\")"));
        wrong.push_str(&format!(
            "(call $key-set (i32.const {at}) (i32.const {length}) (i32.const 8192) (i32.const 4) (i32.const 1536))
             (if (i32.ne (i32.load8_u (i32.const 1536)) (i32.const 1)) (then unreachable))"
        ));
    }
    // A proper name arrives, with a value of 16 KiB and not with more.
    wrong.push_str(
        "(call $key-set (i32.const 20600) (i32.const 64) (i32.const 30000) (i32.const 16385) (i32.const 1536))
         (if (i32.ne (i32.load8_u (i32.const 1536)) (i32.const 1)) (then unreachable))
         (call $key-set (i32.const 20600) (i32.const 3) (i32.const 30000) (i32.const 16384) (i32.const 1536))
         (if (i32.ne (i32.load8_u (i32.const 1536)) (i32.const 0)) (then unreachable))",
    );
    let fixture = Fixture { imports, sync: &wrong, more: &data, ..Fixture::default() };
    let (report, host) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    assert_eq!(host.asked, ["key-set aaa"]);
}

/// The answer in the area at 1536 is an error, or it is none.
fn answered(call: &str, error: u32) -> String {
    format!("{call} (if (i32.ne (i32.load8_u (i32.const 1536)) (i32.const {error})) (then unreachable))")
}

#[tokio::test]
async fn texts_over_their_bounds_are_answered_or_cut_and_go_no_further() {
    let imports = r#"(import "sluice:connector/entries@0.1.0" "retract" (func $retract (param i32 i32 i32 i32 i32)))
        (import "sluice:connector/entries@0.1.0" "label-series" (func $label (param i32 i32 i32 i32 i32 i32)))
        (import "sluice:connector/task@0.1.0" "setting" (func $setting (param i32 i32 i32)))"#;
    let retract = |metric: u32, id: u32| {
        format!("(call $retract (i32.const 30000) (i32.const {metric}) (i32.const 30000) (i32.const {id}) (i32.const 1536))")
    };
    let label = |series: u32, label: u32| {
        format!(
            "(call $label (i32.const 30000) (i32.const 1) (i32.const 30000) (i32.const {series}) (i32.const 30000) (i32.const {label}))"
        )
    };
    let state =
        |key: u32| format!("(call $state-set (i32.const 30000) (i32.const {key}) (i32.const 30000) (i32.const 1) (i32.const 1536))");
    let checkpoint = |cursor: u32| format!("(call $checkpoint (i32.const 1) (i32.const 30000) (i32.const {cursor}) (i32.const 1536))");
    let body = [
        // Letters, since zeros would be made visible.
        "(memory.fill (i32.const 30000) (i32.const 97) (i32.const 60000))".to_owned(),
        answered(&retract(513, 1), 1),
        answered(&retract(1, 513), 1),
        answered(&retract(1, 2), 0),
        label(513, 5),
        label(1, 5000),
        answered(&state(0), 1),
        answered(&state(257), 1),
        answered(&state(2), 0),
        answered(&checkpoint(16385), 1),
        answered(&checkpoint(3), 0),
        // A name that nobody declared, however long, is a setting without a value.
        answered("(call $setting (i32.const 30000) (i32.const 60000) (i32.const 1536))", 0),
    ];
    let fixture = Fixture { imports, sync: &body.concat(), ..Fixture::default() };
    let (report, host) = sync(&fixture.build(), TestHost::default(), &Limits::default()).await;
    assert_eq!(report.result.unwrap().unwrap(), Outcome::Complete);
    assert_eq!(host.asked, ["retract a aa", &format!("label {}", "a".repeat(200)), "state aa 1", "checkpoint Some(\"aaa\")"]);
}

#[tokio::test]
async fn an_author_reads_what_was_passed_what_was_used_where_and_what_it_said_last() {
    let body = "(call $log (i32.const 3) (i32.const 5000) (i32.const 7))
        (call $checkpoint (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536)) (call $walk_pages)";
    let more = "(func $walk_pages (call $parse)) (func $parse (loop $forever (br $forever)))";
    let bytes = Fixture { sync: body, more, ..Fixture::default() }.build();
    let (report, _) = sync(&bytes, TestHost::default(), &Limits { cpu_ms: 30, ..Limits::default() }).await;
    let text = report.for_author().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // How far past it is the machine's to say: its clock ticks for nobody when others are busy.
    assert!(lines[0].contains("its limit of 30 cpu-ms (it was at "), "{text}");
    assert!(lines[1].contains(" ms of CPU in ") && lines[1].contains("256 KiB of memory, 2 calls"), "{text}");
    assert!(lines[1].ends_with("(the last: progress.checkpoint)"), "{text}");
    assert_eq!(lines[2..4], ["  in parse", "  called by walk_pages"], "{text}");
    assert_eq!(lines[lines.len() - 2..], ["  the last lines of its log:", "    warn a\\u{1b}[2J\\nb"], "{text}");

    let (report, _) = sync(&syncing(""), TestHost::default(), &Limits::default()).await;
    assert_eq!(report.for_author(), None);
    assert!(report.closing.is_empty());
}

#[tokio::test]
async fn a_limit_of_memory_or_calls_says_where_as_well() {
    let cases = [
        ("(loop $more (drop (memory.grow (i32.const 16))) (br $more))", "memory-bytes"),
        ("(loop $more (drop (call $now)) (br $more))", "host-calls"),
    ];
    for (greed, wanted) in cases {
        let more = format!("(func $hoard {greed})");
        let bytes = Fixture { sync: "(call $hoard)", more: &more, ..Fixture::default() }.build();
        let (report, _) = sync(&bytes, TestHost::default(), &Limits { memory_bytes: 4 << 20, host_calls: 9, ..Limits::default() }).await;
        assert!(matches!(report.result, Err(CallError::Limit { name, .. }) if name == wanted), "{:?}", report.result);
        assert!(report.stack.first().is_some_and(|function| function == "hoard"), "{wanted}: {:?}", report.stack);
    }
}
