//! Files that passed a limit of compiling, by their hash.
//!
//! The folder is read anew whenever something in it changes, and a bomb among good files would be given its whole budget each time, with everything
//! else waiting behind it. So it is tried once, and remembered until it changes or the host is started again: the limits may be others then.

use crate::error::LoadError;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many are remembered; the oldest make room.
const MOST: usize = 256;

#[derive(Default)]
pub(crate) struct Hopeless(Mutex<VecDeque<([u8; 32], LoadError)>>);

impl Hopeless {
    /// What became of these bytes before, if that need not be tried again.
    pub(crate) fn known(&self, hash: &[u8; 32]) -> Option<LoadError> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| of == hash).map(|(_, error)| error.clone())
    }

    /// Remembers an error that the same bytes would meet again, at the same cost.
    pub(crate) fn note(&self, hash: [u8; 32], error: &LoadError) {
        if !matches!(error, LoadError::CompileLimit { .. }) {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.pop_front();
        }
        known.push_back((hash, error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_costly_is_remembered_and_only_so_many() {
        let hopeless = Hopeless::default();
        let costly = LoadError::CompileLimit { name: "seconds of CPU", limit: 1, after_ms: 1 };
        hopeless.note([0; 32], &LoadError::Empty);
        assert_eq!(hopeless.known(&[0; 32]), None);
        for n in 0..=u8::MAX {
            hopeless.note([n; 32], &costly);
        }
        assert_eq!(hopeless.known(&[0; 32]), Some(costly.clone()));
        hopeless.note([9; 32].map(|n: u8| n ^ 1), &costly);
        assert_eq!(hopeless.known(&[0; 32]), None, "the oldest made room");
    }
}
