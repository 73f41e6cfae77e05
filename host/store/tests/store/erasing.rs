//! Leaving leaves nothing.

use crate::fixture::*;
use sluice_model::Entry;
use sluice_store::*;

fn holds(dir: &std::path::Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(needle.len()).any(|window| window == needle) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test]
async fn deleting_the_data_leaves_no_byte_of_it_in_any_file() {
    let f = Fixture::new().await;
    let keep = f.run("kept").await;
    f.record(keep, 10, &[steps(MIDNIGHT, 1.0)]).await;
    let canary = "CANARY-7f3a";
    let link = NewLink { credentials: vec![credential("token", b"CANARY-7f3a-sealed")], ..f.link_of(canary) };
    let id = f.store.link(link).await.unwrap();
    let fence = f.claim().await.fence;
    for round in 0..3_i64 {
        let mut ingest = f.ingest();
        for n in 0..4_000 {
            let entry = Entry {
                detail: Some(format!("{{\"who\":\"{canary}-{n}\"}}")),
                ..play(&format!("{canary}-{round}-{n}"), MIDNIGHT + n, 1.0)
            };
            ingest.record(&entry).unwrap();
        }
        let state = vec![("note".to_owned(), Some(canary.as_bytes().to_vec()))];
        f.store.commit(Batch { state, ..batch(fence, 10, ingest.take()) }).await.unwrap();
    }
    f.retract(fence, 20, "plays", &format!("{canary}-0-5")).await;
    let log = vec![LogLine { at: MIDNIGHT, level: "info".into(), text: format!("hello {canary}") }];
    let end = Finish { log, ..finish(MIDNIGHT, RunOutcome::Complete) };
    f.store.commit(Batch { finish: Some(end), ..batch(fence, 30, Vec::new()) }).await.unwrap();
    assert!(!holds(f.dir.path(), canary.as_bytes()).is_empty(), "the search finds what is there");
    // Copied, so that the file is as large as what is in it.
    f.side().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    let before = std::fs::metadata(f.dir.path().join("sluice.db")).unwrap().len();

    let erased = f.store.disconnect(id, DataChoice::Delete).await.unwrap();
    assert_eq!((erased.entries, erased.runs, erased.log_lines, erased.credentials), (12_000, 1, 1, 1));
    assert!(erased.wal_emptied);
    assert_eq!(holds(f.dir.path(), canary.as_bytes()), Vec::<String>::new());
    assert!(std::fs::metadata(f.dir.path().join("sluice.db")).unwrap().len() <= before);
    assert!(f.store.connection(id).await.unwrap().is_none());
    assert_eq!(f.values(keep.connection).await, [1.0], "others' data stays");
    let left: i64 = f
        .side()
        .query_row(
            "SELECT (SELECT count(*) FROM entry WHERE connection = ?1) + (SELECT count(*) FROM series WHERE connection = ?1)
           + (SELECT count(*) FROM day WHERE connection = ?1) + (SELECT count(*) FROM work WHERE connection = ?1)",
            [id.0],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn leaving_with_the_data_kept_wipes_the_keys_at_once() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0)]).await;
    assert!(!holds(f.dir.path(), b"sealed").is_empty());
    let erased = f.store.disconnect(fence.connection, DataChoice::Keep).await.unwrap();
    assert_eq!((erased.credentials, erased.entries), (1, 0));
    assert_eq!(holds(f.dir.path(), b"wrapped"), Vec::<String>::new());
    let left = f.store.connection(fence.connection).await.unwrap().unwrap();
    assert_eq!((left.state, left.next_due, left.data_key), (ConnectionState::Disconnected, None, None));
    assert_eq!(f.values(fence.connection).await, [1.0]);
    assert_eq!(f.store.credentials(fence.connection).await.unwrap(), (None, Vec::new()));
    assert!(f.claims(5).await.is_empty());
    let again = NewLink { public_id: left.public_id, relink: Some(fence.connection), ..f.link_of("a") };
    f.store.link(again).await.unwrap();
    assert_eq!(f.claims(5).await.len(), 1, "it can come back");
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_is_finished_at_the_next_start() {
    let f = Fixture::new().await;
    let fence = f.run("a").await;
    f.record(fence, 10, &[steps(MIDNIGHT, 1.0)]).await;
    f.side().execute("UPDATE connection SET erasing = 1", []).unwrap();
    assert!(f.live(fence.connection).await.is_empty(), "hidden at once");
    assert!(f.store.connection(fence.connection).await.unwrap().is_none());
    let Fixture { store, dir, clock, .. } = f;
    drop(store);
    let store = open(dir.path(), &clock).unwrap();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("sluice.db")).unwrap();
    let left: i64 = db.query_row("SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM connection)", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}
