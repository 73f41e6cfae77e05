//! `sluice modules` as people and programs use it: the real program, without a host beside it and over a running one's socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod modules_support;

use modules_support::{Place, Stranger, hash};
use serde_json::Value;
use sluice_store::{Audit, NewUser};
use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn sluice(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.env_clear().env("HOME", place.dir.path()).current_dir(place.dir.path()).args(args);
    command.stdin(Stdio::null());
    command
}

fn run(place: &Place, args: &[&str]) -> Output {
    sluice(place, args).output().unwrap()
}

/// What it printed for programs; it did what it was asked to.
#[track_caller]
fn done(place: &Place, args: &[&str]) -> Value {
    let output = run(place, &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// Why it could not be done: one text on standard error, nothing on standard output, exit code 2, whatever form was asked for.
#[track_caller]
fn not_done(place: &Place, args: &[&str]) -> String {
    let plain = run(place, args);
    let json = run(place, &[args, &["--json"]].concat());
    assert_eq!((plain.status.code(), &plain.stderr), (Some(2), &json.stderr), "{args:?}: {plain:?}");
    assert!(json.status.code() == Some(2) && plain.stdout.is_empty() && json.stdout.is_empty(), "{args:?}: {json:?}");
    String::from_utf8(plain.stderr).unwrap()
}

#[track_caller]
fn until(place: &Place, is: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let listed = done(place, &["modules", "show", "fit"]);
        if is(&listed) {
            return listed;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{listed}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A host, ended with its handle. Its standard output stays open: it has more to say than that it serves.
struct Serving {
    child: Child,
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Serving {
    fn start(place: &Place) -> Self {
        let mut child = sluice(place, &["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(printed.by_ref().any(|line| line.unwrap().contains("serves http://")), "it serves");
        Self { child, _printed: printed }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_yes_is_to_bytes_that_wait_and_to_no_others() {
    let place = Place::new();
    let bytes = Stranger::default().build();
    place.put("fit.wasm", &bytes);
    let full = hash(&bytes);
    let list = done(&place, &["modules", "list"]);
    assert_eq!((list[0]["name"].as_str(), list[0]["state"].as_str()), (Some("fit"), Some("pending")), "{list}");
    assert_eq!(list[0]["command"], format!("sluice modules approve fit@{}", &full[..12]));
    assert!(list[0].get("authority").is_none(), "what each may do is told of one at a time: {list}");
    // Whoever decides reads how people would sign in, and what would be recorded.
    let shown = done(&place, &["modules", "show", "fit"]);
    assert_eq!(shown["authority"][0], "reads from https://api.fit.example/steps (GET)");
    assert_eq!(shown["metrics"], serde_json::json!(["steps (1)"]), "{shown}");
    assert_eq!(shown["setup"], "key: Key (ready, nothing to register)\n");
    let shown = String::from_utf8(run(&place, &["modules", "show", "fit"]).stdout).unwrap();
    assert!(shown.contains("\nrecords\n  steps (1)\n") && shown.contains("\nset-up\nkey: Key (ready"), "{shown}");

    let other = format!("fit@{}", "0".repeat(12));
    let short = format!("fit@{}", &full[..7]);
    let letters = "fit@notahashatall";
    let beyond = format!("fit@{full}00");
    let unknown = format!("fat@{}", &full[..12]);
    for verb in ["approve", "refuse"] {
        for (which, says) in [
            (other.as_str(), "the file was replaced; look at it again with `sluice modules show fit`"),
            (&beyond, "the file was replaced"),
            ("fit", "say which bytes are meant: fit@"),
            ("fit@", "at least 8 letters of the hash are needed"),
            (&short, "at least 8 letters of the hash are needed"),
            (letters, "at least 8 letters of the hash are needed (0-9, a-f)"),
            (&unknown, "there is no module fat; in the folder are: fit"),
        ] {
            let said = not_done(&place, &["modules", verb, which]);
            assert!(said.starts_with("sluice: ") && said.contains(says) && said.lines().count() == 1, "{verb} {which}: {said}");
        }
    }
    for verb in ["rollback", "remove"] {
        assert!(not_done(&place, &["modules", verb, "fat"]).contains("there is no module fat"));
    }
    assert!(not_done(&place, &["modules", "rollback", "fit"]).contains("no version of fit is approved"));
    assert_eq!(done(&place, &["modules", "show", "fit"])["state"], "pending", "nothing of that did anything");

    // Eight letters do, in either case.
    let now = done(&place, &["modules", "approve", &format!("fit@{}", full[..8].to_uppercase())]);
    assert_eq!((now["state"].as_str(), now["sha256"].as_str()), (Some("running"), Some(full.as_str())));
    assert_eq!(now["command"], Value::Null);
    assert!(not_done(&place, &["modules", "approve", &format!("fit@{full}")]).contains("nothing of fit waits to be decided"));
    assert!(not_done(&place, &["modules", "rollback", "fit"]).contains("is the only version that was ever approved here"));
}

#[test]
fn a_files_name_forges_no_line() {
    let place = Place::new();
    let forged = "2026-01-01T00:00:00.000000Z  INFO all is well";
    place.put(&format!("x\n{forged}\u{202e}.wasm"), &Stranger::default().build());
    place.put("fit.wasm", &Stranger::default().build());
    // The first command also tells where it made the key.
    done(&place, &["modules", "list"]);
    let mut said = vec![
        not_done(&place, &["modules", "show", "fat"]),
        not_done(&place, &["modules", "remove", "fat"]),
        String::from_utf8(run(&place, &["doctor"]).stdout).unwrap(),
    ];
    let listed = sluice(&place, &["modules", "list"]).env("SLUICE_LOG", "info").output().unwrap();
    said.extend([String::from_utf8(listed.stdout).unwrap(), String::from_utf8(listed.stderr).unwrap()]);
    let _host = Serving::start(&place);
    said.push(String::from_utf8(run(&place, &["doctor"]).stdout).unwrap());
    for said in said {
        assert!(said.contains("all is well"), "{said}");
        assert!(!said.lines().any(|line| line.trim_start().starts_with(forged)), "{said}");
        assert!(!said.contains('\u{202e}'), "{said}");
    }
}

#[test]
fn what_decides_is_read_whatever_the_file_says_of_itself() {
    let place = Place::new();
    let hosts: Vec<String> = (0..12).map(|at| format!("https://{}.h{at:02}.example", "a".repeat(60))).collect();
    let allow: String = hosts.iter().map(|host| format!("]\n[[allow]]\norigin = \"{host}\"\npaths = [\"/v1\"")).collect();
    let title = "Fit” 1.0.0, pending: sends your key nowhere";
    let bytes = Stranger { title, paths: &format!("\"/steps\"{allow}"), ..Stranger::default() }.build();
    place.put("fit.wasm", &bytes);
    let command = format!("sluice modules approve fit@{}", &hash(&bytes)[..12]);
    let list = String::from_utf8(run(&place, &["modules", "list"]).stdout).unwrap();
    assert!(list.contains("“Fit' 1.0.0, pending: sends your key nowhere” 1.0.0, pending: reads from "), "{list}");
    assert!(list.contains("; sends your key to api.fit.example and nowhere else; "), "{list}");
    assert!(list.trim_end().ends_with(&format!("; all of it: sluice modules show fit; to approve: {command}")), "{list}");
    let shown = String::from_utf8(run(&place, &["modules", "show", "fit"]).stdout).unwrap();
    assert!(shown.lines().any(|line| line == format!("  approve  {command}")), "{shown}");
    for host in hosts {
        assert!(shown.contains(&format!("  reads from {host}/v1 (GET, HEAD)\n")), "{host}: {shown}");
    }
}

#[test]
fn a_name_is_the_instances_even_where_a_file_is_called_so() {
    let place = Place::new();
    let bytes = Stranger::default().build();
    place.put("other.wasm", &bytes);
    place.put("fit.wasm", b"of no use");
    place.settings("[connectors.fit]\nmodule = \"other.wasm\"\n");
    let shown = done(&place, &["modules", "show", "fit"]);
    assert_eq!((shown["file"].as_str(), shown["state"].as_str()), (Some("other.wasm"), Some("pending")), "{shown}");
    let now = done(&place, &["modules", "approve", &format!("fit@{}", &hash(&bytes)[..12])]);
    assert_eq!((now["file"].as_str(), now["state"].as_str()), (Some("other.wasm"), Some("running")));
    done(&place, &["modules", "remove", "fit"]);
    assert!(!place.file("other.wasm").exists() && place.file("fit.wasm").exists());
}

#[test]
fn a_running_host_carries_decisions_out() {
    let place = Place::new();
    let _host = Serving::start(&place);
    let first = Stranger::default().build();
    place.put("fit.wasm", &first);
    let began = Instant::now();
    while done(&place, &["modules", "list"]).as_array().unwrap().iter().all(|row| row["state"] == "examining") {
        assert!(began.elapsed() < Duration::from_secs(60), "the file is not seen");
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = run(&place, &["modules", "approve", &format!("fit@{}", &hash(&first)[..12])]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("fit: running, “Fit” 1.0.0\n\nmay do\n  reads from https://api.fit.example/steps (GET)\n"), "{said}");

    let second = Stranger { version: "2.0.0", paths: "\"/steps\", \"/heart\"", ..Stranger::default() }.build();
    place.put("fit.wasm", &second);
    let shown = until(&place, |l| l["waiting"].is_object() && l["waiting"]["state"] != "examining");
    assert_eq!((shown["state"].as_str(), shown["waiting"]["state"].as_str()), (Some("running"), Some("pending")), "{shown}");
    assert_eq!(shown["waiting"]["difference"][0], "may now send GET https://api.fit.example/heart");
    let list = done(&place, &["modules", "list"]);
    assert!(
        list[0]["waiting"].is_object() && list[0]["waiting"].get("difference").or(list[0]["waiting"].get("authority")).is_none(),
        "{list}"
    );
    assert!(shown["compile_ms"].is_u64() && shown["size"].as_u64() == Some(first.len() as u64));
    let shown = String::from_utf8(run(&place, &["modules", "show", "fit"]).stdout).unwrap();
    assert!(shown.contains(&format!("\n  approve  sluice modules approve fit@{}\n", &hash(&second)[..12])), "{shown}");
    assert!(shown.contains("in the folder: 2.0.0") && shown.contains("it asks for what was not approved\n  may now send GET"), "{shown}");

    // The file that is removed is the one in the folder: it goes by its own bytes, and not by those that serve from their copy.
    let said = not_done(&place, &["modules", "remove", &format!("fit@{}", hash(&first))]);
    assert!(said.contains(&format!("fit is at {} by now", &hash(&second)[..12])) && place.file("fit.wasm").exists(), "{said}");

    let which = format!("fit@{}", hash(&second));
    let now = done(&place, &["modules", "refuse", &which]);
    assert_eq!((now["version"].as_str(), now["waiting"]["state"].as_str()), (Some("1.0.0"), Some("refused")), "{now}");
    assert!(now["waiting"]["line"].as_str().unwrap().starts_with("was refused (by command)"), "{now}");
    let now = done(&place, &["modules", "approve", &which]);
    assert_eq!((now["version"].as_str(), &now["waiting"]), (Some("2.0.0"), &Value::Null));
    assert_eq!(done(&place, &["modules", "show", "fit"])["before"]["sha256"], hash(&first));
    for verb in ["rollback", "remove"] {
        let said = not_done(&place, &["modules", verb, &format!("fit@{}", &hash(&first)[..12])]);
        assert!(said.contains(&format!("fit is at {} by now", &hash(&second)[..12])), "{said}");
    }
    let now = done(&place, &["modules", "rollback", &which]);
    assert_eq!((now["version"].as_str(), now["sha256"].as_str()), (Some("1.0.0"), Some(hash(&first).as_str())));
    assert!(not_done(&place, &["modules", "rollback", "fit"]).contains("the only version"));
    assert_eq!(now["waiting"]["sha256"].as_str(), Some(hash(&second).as_str()), "what was gone back from still lies there");
    let now = done(&place, &["modules", "remove", &which]);
    assert_eq!((now["state"].as_str(), now["sha256"].as_str()), (Some("missing"), None));
    assert!(!place.file("fit.wasm").exists());
    assert!(not_done(&place, &["modules", "remove", "fit"]).contains("there is no module fit; in the folder are: none"));
}

#[test]
fn a_yes_without_a_host_says_what_it_waits_for() {
    let place = Place::new();
    let bytes = Stranger::default().build_sleeping(1_500);
    place.put("fit.wasm", &bytes);
    let output = run(&place, &["modules", "approve", &format!("fit@{}", &hash(&bytes)[..12])]);
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && said.starts_with("fit: running, ") && said.contains("1.0.0"), "{said}{told}");
    assert!(told.contains("what is new in it is compiled first"), "{told}");
    assert!(told.contains("fit: being examined for") && told.contains("it is compiled, and asked what it is"), "{told}");
}

#[test]
fn compiling_keeps_to_the_limits_that_are_set() {
    let place = Place::new();
    let more = sluice_fixtures::bulk::bomb(20_000);
    place.put("bomb.wasm", &Stranger { name: "bomb", more: &more, ..Stranger::default() }.build());
    place.put("fit.wasm", &Stranger::default().build());
    for (setting, passed) in [
        ("memory-mib = 200", "209715200 bytes of memory"),
        ("memory-mib = 201", "210763776 bytes of memory"),
        ("cpu-s = 1", "1 seconds of CPU"),
        ("wall-s = 1\ncpu-s = 3600", "1 seconds by the clock"),
    ] {
        place.settings(&format!("[compile]\n{setting}\n"));
        // A start gives strangers some seconds, which a busy machine may need for other things.
        let began = Instant::now();
        let listed = loop {
            let listed = done(&place, &["modules", "show", "bomb"]);
            if listed["state"] != "examining" || began.elapsed() > Duration::from_secs(120) {
                break listed;
            }
        };
        let line = listed["line"].as_str().unwrap();
        assert_eq!((listed["state"].as_str(), &listed["command"]), (Some("refused"), &Value::Null), "{line}");
        let name = setting.split(' ').next().unwrap();
        assert!(line.contains(&format!("passed the limit of {passed} after")), "{setting}: {line}");
        assert!(line.ends_with(&format!("; the limit is {name} under [compile] in plugins.toml")), "{setting}: {line}");
        assert_eq!(done(&place, &["modules", "show", "fit"])["state"], "pending", "{setting}: the others are as they were");
    }
    place.settings("[compile]\nmemory-mb = 1\n");
    let said = not_done(&place, &["modules", "list"]);
    assert!(said.contains("nothing is called “memory-mb” here; did you mean “memory-mib”?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_is_read_newest_first_and_is_inert() {
    let mut place = Place::new();
    let none = run(&place, &["audit"]);
    assert!(none.status.success() && String::from_utf8_lossy(&none.stdout).starts_with("nothing was noted yet"), "{none:?}");
    assert_eq!(done(&place, &["audit"]), serde_json::json!([]));
    place.put("fit.wasm", &Stranger::default().build());
    let app = place.start().await;
    let user = NewUser { name: "ada\u{1b}[31m".into(), time_zone: "UTC".into(), password_hash: None, owner: true };
    let user = app.store.create_user(user).await.unwrap();
    let signed_in =
        Audit { at: app.now(), user: Some(user), kind: "signed-in".into(), connection: None, detail: "x\u{1b}[2J\n\u{202e}y".into() };
    app.store.audit(signed_in).await.unwrap();
    let which = place.asked("fit");
    place.stop().await;

    // By a command that opens the folder itself, and by one that asks a running host.
    done(&place, &["modules", "approve", &which]);
    let host = Serving::start(&place);
    done(&place, &["modules", "remove", "fit"]);
    let rows = done(&place, &["audit"]);
    let column = |key: &str| rows.as_array().unwrap().iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("what"), ["module-removed", "module-approved", "signed-in"]);
    assert_eq!(column("who"), [Value::Null, Value::Null, Value::from("ada\u{1b}[31m")]);
    let detail = rows[1]["detail"].as_str().unwrap();
    assert!(detail.starts_with("fit@") && detail.ends_with(" by the operator: by command"), "{detail}");
    assert!(rows.as_array().unwrap().windows(2).all(|two| two[0]["at"].as_i64() >= two[1]["at"].as_i64()));
    assert_eq!(done(&place, &["audit", "--limit", "1"])[0]["what"], "module-removed");
    drop(host);

    let table = String::from_utf8(run(&place, &["audit"]).stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("when") && lines[1].contains("module-removed") && lines[3].contains("signed-in"), "{table}");
    assert!(!table.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{table:?}");
    for limit in ["0", "10001", "many"] {
        let said = run(&place, &["audit", "--limit", limit]);
        assert_eq!(said.status.code(), Some(2), "{limit}: {said:?}");
    }
}
