//! Limits of a connector, end to end: whoever passes one ends under that limit's name, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    folder::{Folder, Settings, pinned, upstream},
    host::Host,
    time::noon,
    worlds,
};
use sluice_fixtures::Stranger;
use sluice_sim::{Fault, Kind};
use sluice_store::{ConnectionState, RunOutcome};

#[tokio::test(flavor = "multi_thread")]
async fn each_bound_ends_a_run_under_its_own_name_and_costs_only_that_run() {
    // (line under limits, what the person reads)
    let cases = [
        ("host-calls = 3", "host-calls"),
        ("memory-bytes = 65536", "memory-bytes"),
        ("wall-ms = 40", "wall-ms"),
        ("requests = 2", "limits.requests"),
        ("response-bytes = 300", "300"),
        ("entries = 1", "1 entries"),
        ("entry-bytes = 10", "10 bytes of entries"),
        ("state-bytes = 20", "20"),
    ];
    let clock = noon();
    let hub = worlds::github(&clock, 1, 3);
    let instances = |limited: bool| {
        let mut text = String::new();
        for (at, (line, _)) in cases.iter().enumerate() {
            text.push_str(&format!("[connectors.c{at}]\nmodule = \"github.wasm\"\n"));
            if limited {
                text.push_str(&format!("[connectors.c{at}.limits]\n{line}\n"));
            }
            text.push_str(&upstream(&format!("c{at}"), "https://api.github.com/", &hub.api()));
        }
        Settings::default().more(&text)
    };
    let folder = Folder::new(&instances(false));
    let host = Host::start_with(&folder, &clock, std::sync::Arc::new(|_| {}), false).await;
    let user = host.user("ada", "UTC", true).await;
    let mut ids = Vec::new();
    for at in 0..cases.len() {
        ids.push(host.link(user, &format!("c{at}"), "token", &[("token", &hub.token("demo").unwrap())]).await);
    }
    host.stop().await;
    folder.configure(&instances(true));
    hub.fault(Fault::new(Kind::Delay { ms: 30 }));
    let host = Host::start(&folder, &clock).await;
    for (id, (line, says)) in ids.iter().zip(cases) {
        let connection = host.settled(*id).await;
        let message = connection.message.clone().unwrap_or_default();
        assert_eq!(connection.state, ConnectionState::BackingOff, "{line}: {message}");
        assert!(message.contains(says), "{line}: {message}");
        assert!(connection.next_due.unwrap() > host.app.now(), "{line}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_never_returns_is_ended_at_its_cpu_time_and_its_neighbours_do_not_notice() {
    let clock = noon();
    let hub = worlds::github(&clock, 1, 3);
    let folder = Folder::new(&Settings::default());
    let sha256 = folder.put(&Stranger { name: "busy", sync: "(loop $forever (br $forever))", ..Stranger::default() });
    let more = pinned("busy", &sha256) + "[connectors.busy.limits]\ncpu-ms = 50\n";
    folder.configure(&Settings::default().github(&hub).more(&more));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "UTC", true).await;
    let bad = host.link(user, "busy", "key", &[("key", "k-123456789")]).await;
    let good = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    let connection = host.settled(bad).await;
    assert_eq!((connection.state, connection.failure_code.as_deref()), (ConnectionState::BackingOff, Some("LIMIT_CPU_MS")));
    let message = connection.message.unwrap();
    assert!(message.contains("passed its limit of 50 cpu-ms"), "{message}");
    assert_eq!(host.settled(good).await.state, ConnectionState::Ok);
    assert_eq!(host.run(bad).await.attempts, 2, "it is tried again, and ended again");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_its_bound_is_cut_with_a_line_that_says_so_and_the_run_goes_on() {
    let clock = noon();
    let talker = Stranger {
        name: "talker",
        // Five hundred lines of 39 bytes.
        sync: "(local $n i32) (loop $more
            (call $log (i32.const 2) (i32.const 16384) (i32.const 39))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 500))))",
        more: r#"(data (i32.const 16384) "a line of the log that says very little")"#,
        ..Stranger::default()
    };
    for (limits, bound) in [("[connectors.talker.limits]\nlog-bytes = 1000\n", 1_000), ("", 64 << 10)] {
        let folder = Folder::new(&Settings::default());
        let sha256 = folder.put(&talker);
        folder.configure(&Settings::default().more(&(pinned("talker", &sha256) + limits)));
        let host = Host::start(&folder, &clock).await;
        let user = host.user("ada", "UTC", true).await;
        let id = host.link(user, "talker", "key", &[("key", "k-123456789")]).await;
        let connection = host.settled(id).await;
        assert_eq!((connection.state, connection.message), (ConnectionState::Ok, None), "a full log fails nobody");
        let run = connection.last_run.unwrap();
        assert_eq!(run.outcome, RunOutcome::Complete);
        let log = host.app.store.run_log(run.id).await.unwrap();
        let (said, rest): (Vec<_>, Vec<_>) = log.iter().partition(|line| line.text.starts_with("a line of the log"));
        let bytes: usize = said.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= bound, "{bytes} bytes under a bound of {bound}");
        if bound == 1_000 {
            assert!(bytes > bound / 2, "only {bytes} bytes: what fits is kept");
            assert!(rest.iter().any(|line| line.text.contains("1000") && line.text.contains("log")), "{rest:?}");
        } else {
            assert_eq!(said.len(), 500, "without the bound the log is whole");
        }
        host.stop().await;
    }
}
