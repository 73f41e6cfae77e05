//! The command line as people use it: on an empty folder, beside a running host, and where it is used wrongly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rustix::process::Signal;
use serde_json::Value;
use sluice_e2e::{
    dump::{Copy, Dump, assert_same, rows},
    folder::{Folder, Settings, pinned},
    program::Output,
    truth,
    worlds::{self, Hub},
};
use sluice_fixtures::Stranger;
use sluice_sim::{Clock, Fault, Kind};
use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

fn small(hub: &Hub) -> Folder {
    Folder::new(&Settings::default().github(hub))
}

fn connect(folder: &Folder, hub: &Hub, more: &[&str]) -> Output {
    let token = format!("{}\n", hub.token("demo").unwrap());
    let mut args = vec!["connect", "github", "--key", "token=-", "--time-zone", "Europe/Berlin"];
    args.extend(more);
    folder.run_with(&args, &token)
}

#[test]
fn on_a_fresh_machine_one_command_makes_the_owner_links_the_account_and_brings_its_data() {
    let hub = worlds::github(&Clock::system(), 1, 10);
    let folder = Folder::new(&Settings::default().github(&hub).fresh_machine());
    let said = connect(&folder, &hub, &[]).exits(0);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines[0], "linked github (demo)");
    assert_eq!(lines[1], "you are the owner of this host; `sluice owner-link` gives its pages a password");
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>(),
        ["connector", "account", "outcome", "inserted", "updated", "unchanged", "deleted", "older", "time"]
    );
    let row: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(row[..3], ["github", "demo", "complete"]);
    let dump = Dump::of(&folder.data());
    assert_eq!(row[3].parse::<usize>().unwrap(), dump.entries.len(), "the table counts what is stored");
    let now = hub.clock().now();
    let facts = truth::found(&dump, "github", "demo");
    let wanted = truth::github(&hub, "demo", now, "Europe/Berlin");
    // The machine's clock: a midnight between the sync and this line moves the three gauges, and nothing else.
    let steady = |facts: &[String]| {
        facts
            .iter()
            .filter(|f| !["followers", "stars", "public_repos"].iter().any(|g| f.contains(&format!("\"metric\":\"{g}\""))))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_same("the first sync", &steady(&facts), &steady(&wanted));
    assert_eq!(facts.len(), wanted.len());
    let key = std::fs::metadata(folder.path("host.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600, "the host key is the owner's alone");
    let database = std::fs::metadata(folder.data().join("sluice.db")).unwrap();
    assert_eq!(database.permissions().mode() & 0o077, 0, "the database is the owner's alone");

    // Linking once more is the same connection with new keys.
    let again = connect(&folder, &hub, &[]).exits(0);
    assert!(again.stdout.starts_with("linked github (demo) again: its keys are replaced, its data is kept\n"), "{}", again.stdout);
    assert!(!again.stdout.contains("you are the owner"), "{}", again.stdout);
    assert_eq!(Dump::of(&folder.data()).entries.len(), dump.entries.len());
}

#[test]
fn commands_act_through_the_running_host_and_their_three_forms_of_entries_agree() {
    let hub = worlds::github(&Clock::system(), 1, 10);
    let folder = small(&hub);
    connect(&folder, &hub, &["--no-wait"]).exits(0);
    let host = folder.serve();
    let socket = std::fs::metadata(folder.data().join("sluice.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600, "the socket is the owner's alone");

    let ran: Vec<Value> = folder.run(&["run", "github", "--json"]).exits(0).json();
    assert_eq!((ran.len(), ran[0]["outcome"].as_str()), (1, Some("complete")), "{ran:?}");
    let table = folder.run(&["entries"]).exits(0).stdout;
    let csv = folder.run(&["entries", "--csv"]).exits(0).stdout;
    let json: Vec<Value> = folder.run(&["entries", "--json"]).exits(0).json();
    let stored = Dump::of(&folder.data());
    assert_eq!(json.len(), stored.entries.len());
    assert_eq!(csv.lines().count(), json.len() + 1);
    assert_eq!(table.lines().count(), json.len() + 1);
    let column = |csv: &str, name: &str| csv.lines().next().unwrap().split(',').position(|head| head == name).unwrap();
    let (day, metric) = (column(&csv, "day"), column(&csv, "metric"));
    for (row, line) in json.iter().zip(csv.lines().skip(1)) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(
            (row["day"].as_str(), row["metric"].as_str()),
            (Some(cells[day].trim_matches('"')), Some(cells[metric].trim_matches('"'))),
            "{line}"
        );
    }
    for line in table.lines().skip(1) {
        assert!(line.contains("github") && line.contains("demo"), "{line}");
    }
    let one: Vec<Value> = folder.run(&["entries", "github", "--metric", "followers", "--json"]).exits(0).json();
    assert_eq!(one.len(), 1);
    let none: Vec<Value> = folder.run(&["entries", "--since", "2100-01-01", "--json"]).exits(0).json();
    assert!(none.is_empty());
    let said = folder.run(&["entries", "--since", "2100-01-01"]).exits(0).stdout;
    assert_eq!(said, "nothing was collected that fits; `sluice run` syncs now\n");

    let connections: Vec<Value> = folder.run(&["connections", "--json"]).exits(0).json();
    assert_eq!((connections[0]["state"].as_str(), connections[0]["account"].as_str()), (Some("ok"), Some("demo")));
    assert!(connections[0]["next_due"].as_i64().unwrap() > hub.clock().now());
    let runs: Vec<Value> = folder.run(&["runs", "--json"]).exits(0).json();
    assert!(runs.iter().any(|run| run["outcome"] == "complete"), "{runs:?}");
    for args in
        [&["connections"][..], &["runs"], &["runs", "github"], &["modules", "list"], &["modules", "show", "github"], &["audit"], &["run"]]
    {
        let said = folder.run(args).exits(0).stdout;
        assert!(said.contains("github"), "{args:?}: {said}");
    }

    let link = folder.run(&["owner-link"]).exits(0).stdout;
    assert!(link.starts_with(&format!("http://localhost:{}/owner-link/", folder.port)) && link.contains("\nworks once, until "), "{link}");
    let printed = host.printed().join("\n");
    assert!(printed.contains(&format!("serves http://localhost:{}/ (2 connectors)", folder.port)), "{printed}");
    assert!(host.word("/owner-link/").starts_with("http://localhost:"), "an owner without a password is offered one at start");

    let id = connections[0]["id"].as_str().unwrap();
    let left = folder.run(&["disconnect", id, "--delete-data"]).exits(0).stdout;
    assert!(left.starts_with("disconnected github (demo): 1 keys destroyed\n  removed "), "{left}");
    let rest: Vec<Value> = folder.run(&["entries", "--json"]).exits(0).json();
    assert!(rest.is_empty(), "{} entries are left", rest.len());
    assert!(host.terminate().success());
    assert!(!folder.data().join("sluice.sock").exists(), "the socket goes with the host");
}

#[test]
fn what_cannot_be_done_is_said_in_one_text_with_the_next_step() {
    let hub = worlds::github(&Clock::system(), 1, 3);
    let folder = small(&hub);
    let token = hub.token("demo").unwrap();
    let secret = format!("token={token}");
    // (arguments, standard input, exit code, what standard error says)
    let cases: &[(&[&str], &str, i32, &str)] = &[
        (&["run"], "", 2, "sluice: no account is linked yet: sluice connect github --key token=-\n"),
        (&["run", "nothing"], "", 2, "sluice: there is no connector nothing; known: github, lastfm\n"),
        (&["run", "github"], "", 2, "sluice: no github account is linked yet: sluice connect github\n"),
        (&["entries", "nothing"], "", 2, "sluice: there is no connector nothing; known: github, lastfm\n"),
        (
            &["entries", "--since", "soon"],
            "",
            2,
            "sluice: --since soon: write a day (2026-11-21), an instant (2026-11-21T08:00:00Z) or a span (7d, 12h)\n",
        ),
        (&["connect", "nothing"], "", 2, "sluice: there is no connector nothing; known: github, lastfm\n"),
        (&["connect", "github", "--profile", "magic"], "", 2, "sluice: github has no profile magic; it has token, oauth\n"),
        (&["connect", "github"], "", 2, "sluice: GitHub needs Personal access token: add --key token=-\n"),
        (&["connect", "github", "--key", "token=-"], "", 2, "sluice: standard input ended before the line for token\n"),
        (&["connect", "github", "--key", "tokn=-"], "", 2, "sluice: --key tokn: GitHub takes token\n"),
        (
            &["connect", "github", "--key", &secret],
            "",
            2,
            "sluice: --key token=…: a secret on the command line stands in the shell's history and the process list; write --key token=- and give it on standard input\n",
        ),
        (&["owner-link"], "", 2, "sluice: this host has no owner yet: open the set-up link that `sluice serve` prints at its start\n"),
        (&["disconnect", "nobody"], "", 2, "sluice: there is no connection nobody; `sluice connections` lists them\n"),
        (&["modules", "show", "nothing"], "", 2, "sluice: there is no connector nothing; known: github, lastfm\n"),
        (
            &["gate", "explain", "nothing", "https://api.github.com/user"],
            "",
            2,
            "sluice: there is no connector nothing; known: github, lastfm\n",
        ),
    ];
    for (args, input, code, said) in cases {
        let output = folder.run_with(args, input);
        assert_eq!((output.code, output.stderr.as_str()), (*code, *said), "{args:?}");
        assert!(!output.stderr.contains(&token));
    }
    assert_eq!(folder.run(&["connections"]).exits(0).stdout, "no account is linked yet: sluice connect github --key token=-\n");
    let unknown = folder.run(&["conect"]).exits(2).stderr;
    assert!(unknown.contains("connect"), "{unknown}");

    // A key that the provider refuses: the provider's word and what to do, and no connection.
    let refused = folder.run_with(&["connect", "github", "--key", "token=-"], "github_pat_0000000000000000000000000000000000\n").exits(2);
    assert!(refused.stderr.starts_with("sluice: GitHub: ") && refused.stderr.contains("check what you entered"), "{}", refused.stderr);
    // A key that does not look like one never leaves the machine.
    let before = hub.count();
    let odd = folder.run_with(&["connect", "github", "--key", "token=-"], "hunter2\n").exits(2);
    assert!(odd.stderr.contains("does not look like one") && !odd.stderr.contains("hunter2"), "{}", odd.stderr);
    assert_eq!(hub.count(), before);
    assert_eq!(folder.run(&["connections"]).exits(0).stdout, "no account is linked yet: sluice connect github --key token=-\n");

    std::fs::write(folder.config(), "modlues = \"x\"\n").unwrap();
    let typo = folder.run(&["connections"]).exits(2).stderr;
    assert!(typo.contains("line 1, column 1: nothing is called “modlues” here; did you mean “modules”?"), "{typo}");
}

#[test]
fn a_second_host_on_the_same_data_is_told_who_has_it() {
    let hub = worlds::github(&Clock::system(), 1, 3);
    let folder = small(&hub);
    let host = folder.serve();
    let port = folder.run(&["serve"]).exits(2).stderr;
    assert!(
        port.contains(&format!("127.0.0.1:{} cannot be listened on", folder.port)) && port.contains("--listen 127.0.0.1:PORT"),
        "{port}"
    );
    let data = folder.run(&["serve", "--listen", &format!("127.0.0.1:{}", folder.port + 1)]).exits(2).stderr;
    assert!(data.contains("data") && (data.contains("another") || data.contains("lock")), "{data}");
    assert!(folder.run(&["modules", "list"]).exits(0).stdout.contains("github"), "the first one still answers");
    assert!(host.terminate().success());
}

#[test]
fn asked_to_stop_in_the_middle_of_a_sync_a_host_gives_its_leases_back_and_leaves_nothing_half() {
    let hub = worlds::github(&Clock::system(), 1, 40);
    let folder = small(&hub);
    connect(&folder, &hub, &["--no-wait"]).exits(0);
    hub.fault(Fault::new(Kind::Delay { ms: 250 }));
    let host = folder.serve();
    let before = hub.count();
    let deadline = Instant::now() + Duration::from_secs(30);
    while hub.count() < before + 4 {
        assert!(Instant::now() < deadline, "the first sync does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    assert!(host.terminate().success());
    assert!(asked.elapsed() < Duration::from_secs(20), "stopping took {:?}", asked.elapsed());
    let copy = Copy::of(&folder.data());
    assert!(copy.rows("SELECT 1 FROM connection WHERE owner <> 0").is_empty(), "a lease was kept");
    let work = copy.rows("SELECT due, attempts FROM work");
    assert!(work[0]["due"].as_i64().is_some_and(|due| due <= hub.clock().now()), "{work:?}: due again at once");
    assert_eq!(work[0]["attempts"], 0, "stopping is no failure");
    let runs = copy.rows("SELECT outcome FROM run");
    assert!(runs.iter().all(|run| run["outcome"] == "interrupted"), "{runs:?}");
    assert_eq!(copy.integrity(), "ok");

    hub.clear_faults();
    folder.run(&["run"]).exits(0);
    let got = Dump::of(&folder.data()).without_days_of_gauges().lines();
    let other = small(&hub);
    connect(&other, &hub, &[]).exits(0);
    assert_same("a sync that was stopped and taken up again", &got, &Dump::of(&other.data()).without_days_of_gauges().lines());
}

#[test]
fn a_host_whose_data_another_host_took_over_ends_and_says_so() {
    let first = Folder::new(&Settings::default());
    let host = first.serve();
    // Another way to the same files, which no lock of a folder sees.
    let second = first.duplicate(&Settings::default());
    for name in ["sluice.db", "sluice.db-wal", "sluice.db-shm"] {
        let _ = std::fs::remove_file(second.data().join(name));
        std::fs::hard_link(first.data().join(name), second.data().join(name)).unwrap();
    }
    let other = second.serve();
    assert_eq!(host.ends().code(), Some(2));
    assert!(first.log().contains("another host took this data folder over, so this one stops"), "{}", first.log());
    second.run(&["connections"]).exits(0);
    assert!(other.terminate().success());
}

/// A folder with an account whose run never returns.
fn endless() -> Folder {
    let folder = Folder::new(&Settings::default());
    let sha256 = folder.put(&Stranger { name: "endless", sync: "(loop $for_ever (br $for_ever))", ..Stranger::default() });
    folder.configure(&Settings::default().more(&(pinned("endless", &sha256) + "[connectors.endless.limits]\ncpu-ms = 100000\n")));
    folder.run_with(&["connect", "endless", "--key", "key=-", "--no-wait"], "k-123456789\n").exits(0);
    folder
}

#[test]
fn a_command_does_not_wait_for_a_host_that_stands_still() {
    let folder = endless();
    let host = folder.serve();
    let pid = host.pid();
    let silent = |output: &Output| {
        assert!(
            output.stderr.contains(&format!("the running host (process {pid}) does not answer: nothing came within 10 s")),
            "{output:?}"
        );
        assert!(output.stderr.contains(&format!("kill -CONT {pid}")) && output.stdout.is_empty(), "{output:?}");
    };
    std::thread::scope(|scope| {
        // In the middle of a long answer, and longer without a word than a host may be that is only asked whether it is there.
        let follower = scope.spawn(|| folder.run(&["run", "endless"]));
        std::thread::sleep(Duration::from_secs(12));
        assert!(!follower.is_finished(), "a host that says that it is there is waited for");
        host.signal(Signal::STOP);
        let commands = [&["connections"][..], &["entries", "--json"], &["run", "endless"]].map(|args| scope.spawn(|| folder.run(args)));
        let doctor = folder.run(&["doctor"]).exits(1);
        assert!(doctor.stdout.contains(&format!("(process {pid}) does not answer")), "{doctor:?}");
        for command in commands.into_iter().chain([follower]) {
            silent(&command.join().unwrap().exits(2));
        }
    });
    host.signal(Signal::CONT);
    folder.run(&["connections"]).exits(0);
}

#[test]
fn a_second_ctrl_c_ends_a_host_at_once_and_the_next_one_goes_on() {
    let folder = endless();
    let host = folder.serve();
    let database = rusqlite::Connection::open(folder.data().join("sluice.db")).unwrap();
    let lease = || rows(&database, "SELECT owner FROM connection")[0]["owner"].as_i64().unwrap();
    until("its run begins", || lease() != 0);
    host.interrupt();
    until("it stops in order", || folder.log().contains("asked again, it ends at once"));
    host.interrupt();
    assert_eq!(host.ends().code(), Some(130));
    assert!(folder.log().contains("ended at once"), "{}", folder.log());
    let left = lease();
    assert_ne!(left, 0, "it waited for the run, which never returns, instead of ending");
    // The lease of the dead one holds nobody up.
    let next = folder.serve();
    until("the run begins again", || ![0, left].contains(&lease()));
    drop(next);
}

#[test]
fn entries_of_all_connectors_are_one_timeline() {
    let clock = Clock::system();
    let (hub, fm) = (worlds::github(&clock, 1, 20), worlds::lastfm(&clock, 1, 20));
    let folder = Folder::new(&Settings::default().github(&hub).lastfm(&fm));
    connect(&folder, &hub, &[]).exits(0);
    folder.run(&["connect", "lastfm", "--key", "user=demo"]).exits(0);
    let entries: Vec<Value> = folder.run(&["entries", "--json"]).exits(0).json();
    let times: Vec<jiff::Timestamp> = entries.iter().filter_map(|row| row["start"].as_str()?.parse().ok()).collect();
    assert!(times.len() > 20 && times.is_sorted(), "{times:?}");
    let changes = entries.windows(2).filter(|pair| pair[0]["connector"] != pair[1]["connector"]).count();
    assert!(changes > 4, "one connector after the other: {changes} changes in {} rows", entries.len());
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
