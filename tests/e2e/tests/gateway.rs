//! The way out, from outside: what the grant leaves out is denied and says why, redirects carry no key away, no proxy variable changes a thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use sluice_e2e::{
    dump::Dump,
    folder::{Folder, Settings, upstream},
    host::Host,
    time::noon,
    worlds,
};
use sluice_sim::Clock;
use sluice_store::ConnectionState;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

#[test]
fn explain_says_whether_a_request_would_be_sent_and_why_and_its_exit_code_says_it_too() {
    let hub = worlds::github(&Clock::system(), 1, 2);
    let folder = Folder::new(&Settings::default().github(&hub));
    let host = folder.serve();
    // (arguments after the connector, allowed, what it says)
    let cases: &[(&[&str], bool, &str)] = &[
        (&["https://api.github.com/user"], true, "github: GET https://api.github.com/user allowed"),
        (&["GET", "https://api.github.com/user/repos?per_page=100"], true, "a key is attached when the connector asks for: user"),
        (&["post", "https://api.github.com/graphql"], true, "github: POST https://api.github.com/graphql allowed"),
        (&["https://api.github.com/gists"], false, "github: GET https://api.github.com/gists denied: not in its grant"),
        (&["POST", "https://api.github.com/user/repos"], false, "denied: not in its grant"),
        (&["DELETE", "https://api.github.com/repos/a/b"], false, "denied"),
        (&["TRACE", "https://api.github.com/user"], false, "denied"),
        (&["https://api.github.com/userx"], false, "denied"),
        (&["https://api.github.com/repos/../gists"], false, "denied"),
        (&["https://api.github.com/repos/%2e%2e/gists"], false, "denied"),
        (&["http://api.github.com/user"], false, "denied"),
        (&["https://api.github.com.evil.example/user"], false, "denied"),
        (&["https://user:pw@api.github.com/user"], false, "denied"),
        (&["https://127.0.0.1/user"], false, "denied"),
        (&["https://169.254.169.254/latest/meta-data"], false, "denied"),
        (&["file:///etc/passwd"], false, "denied"),
        (&["nonsense"], false, "denied"),
    ];
    let (before, mut explained) = (hub.count(), 0);
    for (args, allowed, says) in cases {
        let said = folder.run(&[&["gate", "explain", "github"], *args].concat());
        assert_eq!((said.code, said.stderr.as_str()), (i32::from(!allowed), ""), "{args:?}: {}", said.stdout);
        assert!(said.stdout.contains(says), "{args:?}: {}", said.stdout);
        assert!(!said.stdout.contains("pw@"), "{}", said.stdout);
        let json: Value = folder.run(&[&["gate", "explain", "github"], *args, &["--json"]].concat()).exits(i32::from(!allowed)).json();
        assert_eq!(json["allowed"], *allowed, "{args:?}");
        explained += 1;
    }
    assert_eq!((explained, hub.count()), (cases.len(), before), "nothing is sent for the sake of explaining");
    assert!(host.terminate().success());
}

/// A server that keeps every head that it was sent, and answers by its path.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            kept.lock().unwrap().push(head);
            let mut stream = stream;
            let _ = stream.write_all(answer(&path).as_bytes());
        }
    });
    (addr, heads)
}

fn json(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_origin_carries_no_key_and_one_outside_the_grant_is_not_followed() {
    const TOKEN: &str = "github_pat_0123456789012345678901_CANARY";
    let (elsewhere, stolen) = server(|_| json("[]"));
    // The provider (or who passes for it) sends the reader away, in each way there is.
    for status in [301, 302, 303, 307, 308] {
        for target in [
            format!("http://{elsewhere}/user/repos"),
            format!("//{elsewhere}/user/repos"),
            "https://api.github.com:444/user/repos".to_owned(),
            "http://api.github.com/user/repos".to_owned(),
        ] {
            let away = target.clone();
            let (addr, heads) = server(move |path| match path {
                "/api/user" => {
                    json(r#"{"id": 7, "login": "demo", "created_at": "2026-01-01T00:00:00Z", "followers": 1, "public_repos": 1}"#)
                }
                _ => format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {away}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            });
            let clock = noon();
            let folder =
                Folder::new(&Settings::default().more(&upstream("github", "https://api.github.com/", &format!("http://{addr}/api/"))));
            let host = Host::start(&folder, &clock).await;
            let user = host.user("ada", "UTC", true).await;
            let id = host.link(user, "github", "token", &[("token", TOKEN)]).await;
            let connection = host.settled(id).await;
            assert_ne!(connection.state, ConnectionState::Ok, "{status} to {target}");
            assert!(connection.last_run.is_some());
            assert!(heads.lock().unwrap().iter().all(|head| head.contains(TOKEN)), "the provider itself got its key");
            host.stop().await;
        }
    }
    assert!(stolen.lock().unwrap().is_empty(), "{:?}", stolen.lock().unwrap());
}

#[test]
fn proxy_variables_change_nothing() {
    let hub = worlds::github(&Clock::system(), 1, 3);
    let folder = Folder::new(&Settings::default().github(&hub));
    let (proxy, seen) = server(|_| "HTTP/1.1 502 Proxy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned());
    let mut command = folder.sluice(&["connect", "github", "--key", "token=-"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, format!("http://{proxy}"));
    }
    let _ = sluice_e2e::program::finish(&mut command, &format!("{}\n", hub.token("demo").unwrap())).exits(0);
    assert!(!Dump::of(&folder.data()).entries.is_empty());
    assert!(seen.lock().unwrap().is_empty(), "{:?}", seen.lock().unwrap());
}

#[test]
fn the_program_listens_where_it_was_told_and_nowhere_else() {
    let hub = worlds::github(&Clock::system(), 1, 2);
    let folder = Folder::new(&Settings::default().github(&hub));
    let host = folder.serve();
    let mut listening = Vec::new();
    for table in ["tcp", "tcp6"] {
        let mut text = String::new();
        std::fs::File::open(format!("/proc/{}/net/{table}", host.pid())).unwrap().read_to_string(&mut text).unwrap();
        let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", host.pid()))
            .unwrap()
            .flatten()
            .filter_map(|fd| Some(std::fs::read_link(fd.path()).ok()?.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
            .collect();
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if cells[3] == "0A" && inodes.iter().any(|inode| inode == cells[9]) {
                listening.push(cells[1].to_owned());
            }
        }
    }
    assert_eq!(listening, [format!("0100007F:{:04X}", folder.port)]);
    assert!(host.terminate().success());
}
