//! `ca-file`: a server at home whose certificate is by the operator's own authority is believed by a host that was told of it, and by no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../gate/tests/support/authority.rs"]
mod authority;
mod modules_support;

use authority::{Authority, TlsServer};
use modules_support::{Place, Stranger, link, pends, runs_of};
use sluice::{app::Surroundings, runs::Scheduler};
use sluice_fixtures::{Ask, NO_ANSWER, Script};
use sluice_gate::Resolve;
use std::{io, net::IpAddr, process::Command, sync::Arc};

/// Knows the one name, so that nobody is asked for it.
struct Home;

#[async_trait::async_trait]
impl Resolve for Home {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host == "provider.test" { Ok(vec![[127, 0, 0, 1].into()]) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// Runs a connector once on a host with these settings: what its log says, and what reached the server.
async fn one_run(server: &TlsServer, ca_file: &str) -> Vec<String> {
    let ask = Ask { method: "GET", url: "https://api.fit.example/steps", headers: &[], recipe: Some("user") };
    let script = Script::default().ask(&ask);
    let mut place = Place::new();
    let upstream = format!(
        "{ca_file}[[connectors.fit.upstream]]\nfrom = \"https://api.fit.example/\"\nto = \"https://provider.test:{}/\"\nallow-private = true\n",
        server.port
    );
    place.settings(&upstream);
    place.put("fit.wasm", &Stranger { sync: &script.sync, more: &script.more, ..Stranger::default() }.build());
    let app = place.start_in(Surroundings { resolver: Some(Arc::new(Home)), ..Surroundings::system() }).await;
    place.until("fit", pends).await;
    let connection = link(&place).await;
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    let runs = runs_of(&place, connection, |runs| runs.len() == 1).await;
    let log = app.store.run_log(runs[0].id).await.unwrap().into_iter().map(|line| line.text).collect();
    scheduler.stop().await.unwrap();
    place.stop().await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_home_is_believed_by_the_host_that_was_given_its_authority_and_by_no_other() {
    let (ours, other) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let settings = |authority: &Authority, name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        format!("ca-file = \"{}\"\n", path.display())
    };
    let server = TlsServer::start(&ours, "provider.test", (2020, 2090)).await;
    for ca_file in [String::new(), settings(&other, "other.pem")] {
        let log = one_run(&server, &ca_file).await;
        assert_eq!(log[0], NO_ANSWER, "{log:?}");
        assert!(server.got().iter().all(Option::is_none), "{:?}", server.got());
    }
    let log = one_run(&server, &settings(&ours, "home-ca.pem")).await;
    assert_eq!(log, ["well"]);
    let got: Vec<String> = server.got().into_iter().flatten().collect();
    let [head] = got.as_slice() else { panic!("{got:?}") };
    assert!(head.starts_with("GET /steps HTTP/1.1\r\n") && head.contains("Bearer CANARY-key"), "{head}");
}

#[test]
fn the_doctor_looks_at_it_as_a_start_would_by_setting_flag_or_variable() {
    let place = Place::new();
    let file = place.dir.path().join("home-ca.pem");
    let doctor = |flag: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.env_clear().env("HOME", place.dir.path()).current_dir(place.dir.path()).args(flag).args(["doctor", "--json"]);
        command.envs(variable.map(|value| ("SLUICE_CA_FILE", value)));
        let said = command.output().unwrap();
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        let of = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        findings.iter().find(|f| f["check"] == "authorities").map(|f| (of(f, "verdict"), of(f, "line"), of(f, "advice")))
    };
    assert_eq!(doctor(&[], None), None);
    let missing = |found: Option<(String, String, String)>| {
        let (verdict, line, advice) = found.unwrap();
        assert_eq!(verdict, "problem", "{line}");
        assert!(line.starts_with("ca-file: /") && line.contains("home-ca.pem cannot be read"), "{line}");
        assert!(advice.contains("ca-file"), "{advice}");
    };
    missing(doctor(&["--ca-file", "home-ca.pem"], None));
    missing(doctor(&[], Some("home-ca.pem")));
    place.settings("ca-file = \"home-ca.pem\"\n");
    missing(doctor(&[], None));
    std::fs::write(&file, format!("{}{}", Authority::new().pem(), Authority::new().pem())).unwrap();
    let (verdict, line, _) = doctor(&[], None).unwrap();
    assert_eq!(verdict, "ok", "{line}");
    assert!(line.ends_with("home-ca.pem: 2 of your own, believed beside the machine's"), "{line}");
}
