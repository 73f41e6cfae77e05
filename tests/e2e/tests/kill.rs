//! SIGKILL at fifty random instants during syncs: after each the next host goes on, and in the end the data is that of a host that nobody touched.
//! How it is done, and what is looked at after each kill: `sluice_e2e::torment`. `cargo xtask soak` does the same a thousand times.

use sluice_e2e::torment::{Tally, Torment, Until};

/// Kills that must fall into runs.
const KILLS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_fifty_random_instants_a_host_loses_nothing_and_stores_nothing_twice() {
    let torment = Torment::prepare(1).await;
    assert!(torment.wanted.len() > 300, "only {} lines: nothing much to lose", torment.wanted.len());
    torment.slow_down();
    let (tally, until) = (Tally::default(), Until { kills: KILLS, time: None });
    tokio::join!(torment.kill(1, until, &tally), torment.kill(2, until, &tally));
    assert!(Tally::now(&tally.kills) >= KILLS);
    assert!(Tally::now(&tally.told) > 0, "nothing was ever acknowledged before a kill");
    let halfway = Tally::now(&tally.halfway);
    eprintln!("{halfway} of them found some of the data stored, and not all of it");
    assert!(halfway >= KILLS / 3, "only {halfway} kills fell between the first commit and the last: the worlds are too small or too large");
}
