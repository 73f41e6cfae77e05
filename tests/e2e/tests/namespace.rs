//! The gate is the only way out: in a network of its own, with nothing in it but the simulators and one host, every connection that anybody begins is one
//! that the gate wrote down before.
//!
//! The test starts itself once more inside a fresh user and network namespace. There it listens to the wire itself (a packet socket sees each TCP segment
//! that leaves, whatever the system makes of it), runs a real host with both connectors through sign-ins and syncs, and compares. All that is not the host
//! speaks to it by its Unix socket, so that each beginning of a connection (a SYN) is the host's. A route to everywhere leads to nowhere, so that an
//! attempt to get out would be seen too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rustix::net::{AddressFamily, RecvFlags, SocketType, eth, recv, socket};
use serde_json::Value;
use sluice_e2e::{
    dump::Dump,
    eventually,
    folder::{Folder, Settings, upstream},
    program::finish,
    time::Dice,
    worlds,
};
use sluice_sim::{Clock, Fault, Kind, github};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Prepares the namespace, whose only interface is its own loopback, and starts the test in it.
const PREPARE: &str = "ip link set lo up && ip route add default dev lo && exec \"$0\" \"$@\"";

#[test]
fn every_connection_that_the_host_begins_has_a_record_of_the_gate() {
    let inside = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", PREPARE]).args(args);
        command
    };
    // Containers and hardened kernels often allow nobody a namespace of their own.
    match inside(&["true"]).output() {
        Ok(tried) if tried.status.success() => {}
        tried => {
            // Past the test harness, which shows nothing of tests that pass.
            let why = "skipped: no network namespace can be made here (it takes unshare of util-linux, ip of iproute2, and a kernel that allows it)";
            let _ = writeln!(std::io::stderr(), "every_connection_that_the_host_begins_has_a_record_of_the_gate {why}: {tried:?}");
            return;
        }
    }
    let me = std::env::current_exe().unwrap();
    let mut command = inside(&[me.to_str().unwrap(), "--ignored", "--exact", "in_a_network_of_its_own", "--nocapture"]);
    let output = finish(command.env("SLUICE_E2E_NAMESPACE", "1"), "").exits(0);
    assert!(output.stdout.contains("1 passed"), "{output:?}");
    eprintln!("{}", output.stderr.lines().filter(|line| line.contains("connections begun")).collect::<Vec<_>>().join("\n"));
}

/// Beginnings of connections: from, to.
type Begun = BTreeSet<(SocketAddr, SocketAddr)>;

/// Listens to all interfaces, and keeps every SYN without an ACK. A segment that is repeated has the ports of the first.
struct Wire(Arc<Mutex<Begun>>);

impl Wire {
    fn listen() -> Self {
        let socket: OwnedFd = socket(AddressFamily::PACKET, SocketType::RAW, Some(eth::ALL)).expect("a packet socket");
        let begun = Arc::new(Mutex::new(Begun::new()));
        let kept = Arc::clone(&begun);
        thread::spawn(move || {
            let mut frame = [0; 256];
            while let Ok((length, _)) = recv(&socket, &mut frame, RecvFlags::empty()) {
                if let Some(pair) = syn(&frame[..length.min(frame.len())]) {
                    kept.lock().unwrap().insert(pair);
                }
            }
        });
        Self(begun)
    }

    fn begun(&self) -> Begun {
        self.0.lock().unwrap().clone()
    }
}

/// From and to of a frame that begins a TCP connection.
fn syn(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (kind, packet) = (u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?), frame.get(14..)?);
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match kind {
        0x0800 if packet.get(9) == Some(&6) => {
            let at = |n: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(n..n + 4)?).ok()?));
            (at(12)?.into(), at(16)?.into(), packet.get(usize::from(packet[0] & 15) * 4..)?)
        }
        0x86dd if packet.get(6) == Some(&6) => {
            let at = |n: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(n..n + 16)?).ok()?));
            (at(8)?.into(), at(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let port = |n: usize| Some(u16::from_be_bytes(segment.get(n..n + 2)?.try_into().ok()?));
    // SYN set, ACK not.
    (segment.get(13)? & 0x12 == 0x02).then_some((SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?)))
}

/// The gate's own records in a log: how many requests went to each host and port, and which addresses a name was judged good for.
fn records(log: &str) -> (BTreeMap<(String, u16), usize>, BTreeSet<SocketAddr>) {
    let field = |line: &str, name: &str| -> Option<String> {
        let rest = line.split(&format!("{name}=")).nth(1)?;
        let rest = rest.strip_prefix('"').map_or_else(|| rest.split(' ').next(), |quoted| quoted.split('"').next());
        rest.map(str::to_owned)
    };
    let (mut requests, mut resolved) = (BTreeMap::new(), BTreeSet::new());
    for line in log.lines() {
        let (Some(host), Some(port)) = (field(line, "host"), field(line, "port").and_then(|port| port.parse().ok())) else { continue };
        if line.contains("a request goes out") {
            *requests.entry((host, port)).or_default() += 1;
        } else if line.contains("a name may be dialled") {
            let addresses = line.split("addresses=[").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
            resolved.extend(addresses.split(", ").map(|ip| SocketAddr::new(ip.parse().unwrap(), port)));
        }
    }
    (requests, resolved)
}

/// Both connectors, linked in both ways, synced twice, with faults that make the host dial anew; what it dialled and what came of it.
async fn host_at_work(proxies: Option<SocketAddr>) -> (Begun, String, usize) {
    let clock = Clock::system();
    let hub = worlds::github_of(github::Options { users: 1, days: 3, ..worlds::options(&clock) });
    let fm = worlds::lastfm(&clock, 1, 3);
    // One provider by address, one by name.
    let by_name = fm.url().replace("127.0.0.1", "localhost");
    let app = "[connectors.lastfm.app]\napi-key = { file = \"secrets/api-key\" }\nshared-secret = { file = \"secrets/shared-secret\" }\n";
    let lines = app.to_owned() + &upstream("lastfm", "https://ws.audioscrobbler.com/", &format!("{by_name}/"));
    let folder = Folder::new(&Settings::default().github(&hub).more(&lines));
    let with_proxies = |command: &mut Command| {
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            proxies.map(|at| command.env(name, format!("http://{at}")));
        }
    };
    let wire = Wire::listen();
    let mut serve = folder.sluice(&["serve"]);
    with_proxies(serve.env("SLUICE_LOG", "debug"));
    let host = folder.serve_with(&mut serve);
    let run = |args: &[&str], input: &str| {
        let mut command = folder.sluice(args);
        with_proxies(&mut command);
        finish(&mut command, input)
    };
    let _ = run(&["connect", "github", "--key", "token=-"], &format!("{}\n", hub.token("demo").unwrap())).exits(0);
    let _ = run(&["connect", "lastfm", "--key", "user=demo"], "").exits(0);
    for _ in 0..3 {
        hub.fault(Fault::once(Kind::Reset));
        fm.fault(Fault::once(Kind::Truncate { keep: Some(3) }));
        let _ = run(&["run"], "");
    }
    let rows: Vec<Value> = run(&["run", "--json"], "").json();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let served = usize::try_from(hub.count() + fm.count()).unwrap();
    assert!(host.terminate().success());
    let entries = Dump::of(&folder.data()).entries;
    for connector in ["github", "lastfm"] {
        assert!(entries.iter().any(|row| row["connector"] == connector), "nothing came of {connector}");
    }
    // What the host is known to have reached was heard: the wire keeps up.
    eventually("the wire", async || (!wire.begun().is_empty()).then_some(())).await;
    let begun = wire.begun();
    let pages = begun.iter().filter(|(_, to)| to.port() == folder.port).count();
    assert_eq!(pages, 0, "the host dials itself");
    let to_hub = begun.iter().filter(|(_, to)| *to == hub.addr).count();
    let to_fm = begun.iter().filter(|(_, to)| to.port() == fm.addr.port()).count();
    assert!(to_hub > 3 && to_fm > 2, "{to_hub} and {to_fm} connections: the faults make more of them");
    assert_eq!(begun.iter().filter(|(_, to)| to.port() != hub.addr.port() && to.port() != fm.addr.port()).count(), 0, "{begun:?}");
    (begun, folder.log(), served)
}

/// Addresses to which more connections were begun than the gate has requests in its records.
fn unrecorded(begun: &Begun, log: &str) -> Vec<SocketAddr> {
    let (requests, resolved) = records(log);
    let mut dialled: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (_, to) in begun {
        *dialled.entry(*to).or_default() += 1;
    }
    let of = |host: String, port: u16| requests.get(&(host, port)).copied().unwrap_or(0);
    let recorded = |to: &SocketAddr| {
        let by_name = if resolved.contains(to) { of("localhost".to_owned(), to.port()) } else { 0 };
        of(to.ip().to_string(), to.port()) + by_name
    };
    dialled.into_iter().filter(|(to, times)| *times > recorded(to)).map(|(to, _)| to).collect()
}

/// Each beginning of a connection belongs to a request in the gate's records, and each request that arrived stands there.
fn every_one_is_recorded(begun: &Begun, log: &str, served: usize) {
    assert_eq!(unrecorded(begun, log), []);
    let requests: usize = records(log).0.values().sum();
    assert!(requests >= served, "{requests} requests in the records, and {served} reached the providers");
    eprintln!("{} connections begun, {requests} requests in the gate's records", begun.len());
    // One more to anywhere would be noticed.
    let (from, _) = *begun.first().unwrap();
    for stranger in ["192.0.2.1:443", "127.0.0.1:1"] {
        let stranger = stranger.parse().unwrap();
        let more: Begun = begun.iter().copied().chain([(from, stranger)]).collect();
        assert_eq!(unrecorded(&more, log), [stranger]);
    }
}

/// Not a test of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started in a namespace by every_connection_that_the_host_begins_has_a_record_of_the_gate"]
async fn in_a_network_of_its_own() {
    if std::env::var_os("SLUICE_E2E_NAMESPACE").is_none() {
        return;
    }
    // An attempt to get out is seen, and leads nowhere.
    let wire = Wire::listen();
    let away: SocketAddr = format!("192.0.2.{}:443", Dice::new(u64::from(std::process::id())).below(250) + 1).parse().unwrap();
    assert!(TcpStream::connect_timeout(&away, Duration::from_millis(100)).is_err());
    eventually("the control's own SYN", async || wire.begun().iter().any(|(_, to)| *to == away).then_some(())).await;

    let (begun, log, served) = host_at_work(None).await;
    every_one_is_recorded(&begun, &log, served);

    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let (begun, log, served) = host_at_work(Some(proxy.local_addr().unwrap())).await;
    every_one_is_recorded(&begun, &log, served);
    assert!(proxy.accept().is_err(), "nobody asks a proxy");
    assert!(log.lines().all(|line| !line.contains(lastfm_key())), "the records hold no key");
}

fn lastfm_key() -> &'static str {
    sluice_sim::lastfm::API_KEY
}
