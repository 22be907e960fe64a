//! Logins that last: which token goes with the next request, without being asked for it.

use crate::config::Auth;
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const MOST_TOKENS: usize = 256;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) base: String,
    pub(super) path: String,
    pub(super) auth: Option<Auth>,
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) header: HeaderValue,
    /// `None`: for as long as the agent lives.
    pub(super) until: Option<Instant>,
}

/// Tokens in use, by endpoint, repository and who asked: one pod's login is never another's.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Session>>);

impl Sessions {
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<HeaderValue> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .get(key)
            .filter(|session| session.until.is_none_or(|until| now < until))
            .map(|session| session.header.clone())
    }
    pub(super) fn put(&self, key: Key, session: Session, now: Instant) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.until.is_none_or(|until| now < until));
        if sessions.len() >= MOST_TOKENS {
            sessions.clear();
        }
        sessions.insert(key, session);
    }
}
