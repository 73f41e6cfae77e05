//! The schedule beside neighbours that hang, runs that cannot be written down, and connectors that are not there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod folder_support;

use folder_support::{Place, sha256};
use sluice::{
    app::App,
    runs::{Scheduler, events::RunEvent},
};
use sluice_model::{Account, ConnectionId, UserId, task::Reason};
use sluice_store::{ConnectionState, NewCredential, NewLink, NewUser, Requested};
use sluice_vault::Identity;
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::broadcast};

const HOUR: i64 = 3_600_000;

/// A provider that takes every request and never answers, or says at once that it is busy.
async fn provider(answers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if answers {
                let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            }
            open.push(stream);
        }
    });
    format!("http://{address}")
}

async fn user(app: &App, name: &str, zone: &str) -> UserId {
    app.store.create_user(NewUser { name: name.into(), time_zone: zone.into(), password_hash: None, owner: false }).await.unwrap()
}

async fn link(app: &App, user: UserId, connector: &str, account: &str, due: i64) -> ConnectionId {
    let public_id = app.store.new_public_id();
    let (data_key, wrapped) = app.vault.new_data_key(&public_id);
    let identity = Identity { connector, connection: &public_id, name: "token", guest: false };
    let token = data_key.seal(&identity, b"github_pat_of_a_test");
    let link = NewLink {
        user,
        app: app.store.app(connector, "").await.unwrap().id,
        connector: connector.into(),
        profile: "token".into(),
        account: Account { id: Some(account.into()), label: account.into(), route_keys: Vec::new() },
        scopes: Vec::new(),
        settings: Vec::new(),
        data_key: (wrapped.key_id, wrapped.bytes),
        credentials: vec![NewCredential { name: "token".into(), ciphertext: token, secret: true, guest: false, expires_at: None }],
        relink: None,
        due,
        public_id,
    };
    app.store.link(link).await.unwrap()
}

/// A host with the GitHub connector under these names, each asking the provider beside it.
async fn host(instances: &[(&str, &str)]) -> (Place, Arc<App>) {
    let place = Place::new();
    let bytes = place.connector("github");
    std::fs::write(place.modules().join("github.wasm"), &bytes).unwrap();
    let mut text = String::new();
    for (name, url) in instances {
        text.push_str(&format!(
            "[connectors.{name}]\nmodule = \"github.wasm\"\nsha256 = \"{}\"\n[[connectors.{name}.upstream]]\nfrom = \"https://api.github.com/\"\n\
             to = \"{url}/\"\nallow-private = true\n",
            sha256(&bytes)
        ));
    }
    place.settle_with("concurrent-runs = 4\n", &text);
    let app = place.open().await;
    (place, app)
}

async fn told(events: &mut broadcast::Receiver<RunEvent>, id: ConnectionId) -> (String, Option<String>) {
    let wait = async {
        loop {
            if let RunEvent::Finished { connection, outcome, message, .. } = events.recv().await.unwrap()
                && connection == id
            {
                return (outcome, message);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it runs and ends within seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_does_not_starve_the_others() {
    let (_place, app) = host(&[("slow", &provider(false).await), ("quick", &provider(true).await)]).await;
    let ada = user(&app, "ada", "UTC").await;
    let quick = link(&app, ada, "quick", "q", app.now() + HOUR).await;
    let mut slow = Vec::new();
    for n in 0..40 {
        slow.push(link(&app, ada, "slow", &format!("s{n}"), app.now()).await);
    }
    let mut events = app.events.subscribe();
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(events.recv().await.unwrap(), RunEvent::Started { connection } if slow.contains(&connection)));
    }
    for _ in 0..3 {
        assert_eq!(app.store.request_run(quick, Reason::Manual, app.now()).await.unwrap(), Requested::Queued);
        app.wake.notify_one();
        assert_eq!(told(&mut events, quick).await.0, "transient", "the provider's 503, and not a wait of half a minute");
    }
    scheduler.stop().await.unwrap();
    for id in slow {
        let connection = app.store.connection(id).await.unwrap().unwrap();
        assert!(
            !connection.running && connection.next_due.is_some_and(|due| due <= app.now()),
            "what was interrupted is due again at once"
        );
        assert_eq!(connection.attempts, 0, "a stop is no failure");
    }
    app.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_written_down_gives_its_connection_back() {
    let (_place, app) = host(&[("quick", &provider(true).await)]).await;
    // What the day is there cannot be said, so nothing can be recorded.
    let lost = user(&app, "lost", "Nowhere/At-All").await;
    let id = link(&app, lost, "quick", "q", app.now()).await;
    let mut events = app.events.subscribe();
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    assert_eq!(told(&mut events, id).await.0, "lost");
    let connection = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let connection = app.store.connection(id).await.unwrap().unwrap();
            if !connection.running {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let connection = connection.await.expect("the lease is not held for ever");
    assert_eq!((connection.state, connection.attempts), (ConnectionState::BackingOff, 1));
    assert!(connection.next_due.unwrap() > app.now() + 30_000, "and it does not come again at once");
    assert!(connection.message.unwrap().contains("could not finish"));
    scheduler.stop().await.unwrap();
    app.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_its_connector_says_so_and_waits() {
    let (_place, app) = host(&[("quick", &provider(true).await)]).await;
    let ada = user(&app, "ada", "UTC").await;
    let id = link(&app, ada, "vanished", "v", app.now()).await;
    let mut events = app.events.subscribe();
    let scheduler = Scheduler::start(app.clone()).await.unwrap();
    let (outcome, message) = told(&mut events, id).await;
    assert_eq!(outcome, "other");
    assert!(message.unwrap().contains("not in the modules folder"));
    scheduler.stop().await.unwrap();
    assert!(app.stopped.is_cancelled(), "whoever waits is told");
    app.store.close().await;
}
