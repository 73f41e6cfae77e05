//! Days: an instant counts for the day it had when it was written, whatever zone the person moves to; none is doubled, none is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_e2e::{
    dump::{Dump, assert_same},
    folder::{Folder, Settings},
    host::Host,
    time::{HOUR, noon},
    truth, worlds,
};
use sluice_sim::{github, lastfm};
use std::collections::BTreeMap;

/// How many entries of an instant each day has, and what `v_daily` makes of them.
fn days(dump: &Dump, metric: &str) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let add = |rows: &[BTreeMap<String, serde_json::Value>], value: &str| {
        let mut sums = BTreeMap::new();
        for row in rows.iter().filter(|row| row["metric"] == metric) {
            *sums.entry(row["day"].as_str().unwrap().to_owned()).or_insert(0.0) += row[value].as_f64().unwrap();
        }
        sums
    };
    (add(&dump.entries, "value"), add(&dump.daily, "sum"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_moves_to_another_zone_has_no_day_doubled_and_none_moved() {
    let clock = noon();
    let (hub, fm) = (worlds::github(&clock, 1, 12), worlds::lastfm(&clock, 1, 12));
    let folder = Folder::new(&Settings::default().github(&hub).lastfm(&fm));
    let host = Host::start(&folder, &clock).await;
    let user = host.user("ada", "America/Los_Angeles", true).await;
    let github = host.link(user, "github", "token", &[("token", &hub.token("demo").unwrap())]).await;
    let lastfm = host.link(user, "lastfm", "user", &[("user", "demo")]).await;
    host.settled(github).await;
    host.settled(lastfm).await;
    let here = host.dump();
    let now = clock.now();
    assert_same("before the move", &truth::found(&here, "github", "demo"), &truth::github(&hub, "demo", now, "America/Los_Angeles"));
    for metric in ["commits", "tracks", "pull_requests"] {
        let (entries, daily) = days(&here, metric);
        assert_eq!(entries, daily, "{metric}");
    }

    // Eighteen hours ahead: nearly every instant would have another day there. The overlaps are read again, and windows replaced.
    host.app.store.set_time_zone(user, "Pacific/Kiritimati".to_owned()).await.unwrap();
    host.advance(2 * HOUR);
    let (a, b) = (host.run(github).await, host.run(lastfm).await);
    assert_eq!((a.last_run.unwrap().counts.updated, b.last_run.unwrap().counts.updated), (0, 0), "what is the same stays as it is");
    assert_same("after the move", &host.dump().lines(), &here.lines());

    // A forced new look at everything: the window of each repository that changed is read again in the new zone.
    let repository = hub.repositories("demo").into_iter().find(|r| !r.fork && !r.commits.is_empty()).unwrap().id;
    let at = clock.now() / 1_000 - 1_800;
    hub.apply(github::Command::AddCommit { repository, login: Some("demo".into()), authored_at: at, committed_at: None }).unwrap();
    fm.apply(lastfm::Command::AddPlay { user: "demo".into(), at, artist: "A".into(), track: "New".into(), album: String::new() }).unwrap();
    host.run(github).await;
    host.run(lastfm).await;
    let after = host.dump();
    for metric in ["commits", "tracks"] {
        let (entries, daily) = days(&after, metric);
        assert_eq!(entries, daily, "{metric}: the days add up to the entries");
        let (mut before, _) = days(&here, metric);
        // 2026-03-10 13:30 UTC is already the 11th there.
        *before.entry("2026-03-11".to_owned()).or_insert(0.0) += 1.0;
        assert_eq!(entries, before, "{metric}: one more, on the day it has in the new zone, and no other day changed");
    }
    host.stop().await;
}
