//! Who may have how many of a number of slots, so that a slow neighbour costs nobody else their turn.
//!
//! The problem: a provider that hangs for half a minute fills every slot with runs that wait, and whatever comes due meanwhile waits with it. A fixed
//! part for each would leave slots empty whenever only one has work. The rule here is the one of switches that share a buffer: each may take a
//! further slot while it holds less than twice what would still be free afterwards. Alone among others it gets about two thirds; a second that
//! hangs as well gets two thirds of the rest; whoever holds nothing always gets a free slot. Where nobody else is there, the rule is not asked.

use sluice_model::{AppId, UserId};
use std::collections::HashMap;

/// Slots, and who holds how many.
#[derive(Clone, Debug, Default)]
pub struct Held {
    slots: usize,
    total: usize,
    apps: HashMap<AppId, usize>,
    users: HashMap<UserId, usize>,
    /// Other apps have or will have something to do.
    pub several_apps: bool,
    /// There are other people.
    pub several_users: bool,
}

impl Held {
    /// So many slots, all free, for whoever comes.
    #[must_use]
    pub fn none(slots: usize) -> Self {
        Self { slots, ..Self::default() }
    }

    /// Slots that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.slots.saturating_sub(self.total)
    }

    /// Slots that a user holds.
    #[must_use]
    pub fn of_user(&self, user: UserId) -> usize {
        self.users.get(&user).copied().unwrap_or_default()
    }

    /// Apps that hold any.
    pub fn apps(&self) -> impl Iterator<Item = AppId> {
        self.apps.keys().copied()
    }

    /// Whether this app and this user may take one more.
    #[must_use]
    pub fn admits(&self, app: AppId, user: UserId) -> bool {
        let free = self.free();
        let fair = |holds: usize| holds == 0 || holds < 2 * free.saturating_sub(1);
        free > 0
            && (!self.several_apps || fair(self.apps.get(&app).copied().unwrap_or_default()))
            && (!self.several_users || fair(self.of_user(user)))
    }

    /// They take one.
    pub fn take(&mut self, app: AppId, user: UserId) {
        self.total += 1;
        *self.apps.entry(app).or_default() += 1;
        *self.users.entry(user).or_default() += 1;
    }

    /// They give one back.
    pub fn give_back(&mut self, app: AppId, user: UserId) {
        self.total = self.total.saturating_sub(1);
        less(&mut self.apps, app);
        less(&mut self.users, user);
    }
}

fn less<K: std::hash::Hash + Eq>(map: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = map.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(held: &mut Held, app: i64, user: i64) -> usize {
        let mut got = 0;
        while held.admits(AppId(app), UserId(user)) {
            held.take(AppId(app), UserId(user));
            got += 1;
        }
        got
    }

    #[test]
    fn alone_everything_is_theirs() {
        assert_eq!(fill(&mut Held::none(16), 1, 1), 16);
    }

    #[test]
    fn beside_others_each_leaves_room_for_the_next() {
        let mut held = Held { several_apps: true, ..Held::none(16) };
        assert_eq!(fill(&mut held, 1, 1), 10);
        assert_eq!(fill(&mut held, 2, 1), 4);
        assert_eq!((fill(&mut held, 3, 1), fill(&mut held, 4, 1)), (1, 1), "whoever holds nothing gets what is free");
        assert_eq!(fill(&mut held, 5, 1), 0);
        held.give_back(AppId(1), UserId(1));
        assert_eq!((fill(&mut held, 1, 1), fill(&mut held, 5, 1)), (0, 1), "what is given back goes to others first");
    }

    #[test]
    fn few_slots_are_shared_too() {
        for (slots, most) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
            let mut held = Held { several_users: true, ..Held::none(slots) };
            assert_eq!(fill(&mut held, 1, 7), most, "{slots}");
        }
    }
}
