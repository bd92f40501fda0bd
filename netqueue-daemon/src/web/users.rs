//! Basic authentication: names and bcrypt hashes.
//!
//! Bcrypt is slow on purpose, so valid credentials are remembered.

use std::{
    collections::{BTreeMap, HashSet},
    str::FromStr as _,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use axum::http::HeaderValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bcrypt::HashParts;
use ring::hmac;
use tokio::sync::Semaphore;

/// Users, and credentials that were valid.
#[derive(Debug)]
pub(super) struct Users {
    /// Bcrypt hashes by user name.
    hashes: BTreeMap<String, String>,
    memory: Arc<Memory>,
}

/// Tags of valid credentials, under a key that never leaves this process.
#[derive(Debug)]
struct Memory {
    key: hmac::Key,
    right: Mutex<HashSet<Vec<u8>>>,
}

/// Permit for a bcrypt check: guessing passwords takes no more than one CPU.
static CHECKS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));

/// Hash that unknown users are checked against, so that they take as long as known ones.
static NOBODY: LazyLock<String> = LazyLock::new(|| bcrypt::hash("nobody", 10).unwrap_or_default());

impl Users {
    /// Checks that every hash is valid.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        for (name, hash) in &hashes {
            HashParts::from_str(hash).map_err(|error| {
                format!("basic_auth_users: {name:?} has no bcrypt hash ({error}): make one with `htpasswd -nBC 10`")
            })?;
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
            .map_err(|_unspecified| "the system gives no random numbers".to_owned())?;
        Ok(Self { hashes, memory: Arc::new(Memory { key, right: Mutex::default() }) })
    }

    /// Returns whether no authentication is required.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns whether the Authorization header has valid credentials.
    pub(super) async fn admit(&self, header: Option<&HeaderValue>) -> bool {
        let Some((name, password)) = header.and_then(credentials) else { return false };
        let hash = self.hashes.get(&name);
        let tag = hmac::sign(&self.memory.key, format!("{name}\0{password}").as_bytes()).as_ref().to_vec();
        if hash.is_some() && self.memory.knows(&tag) {
            return true;
        }
        let known = hash.is_some();
        let hash = hash.cloned();
        // An error means that the semaphore is closed because the process stops.
        let Ok(_turn) = Arc::clone(&CHECKS).acquire_owned().await else { return false };
        let check = move || {
            let hash = hash.as_deref().unwrap_or(NOBODY.as_str());
            bcrypt::verify(password, hash).unwrap_or(false)
        };
        let checked = tokio::task::spawn_blocking(check).await;
        let right = known && checked.unwrap_or(false);
        if right {
            self.memory.keep(tag);
        }
        right
    }
}

impl Memory {
    fn knows(&self, tag: &Vec<u8>) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn keep(&self, tag: Vec<u8>) {
        /// Users that are remembered; with more of them, all are checked again now and then.
        const ROOM: usize = 128;
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= ROOM {
            right.clear();
        }
        right.insert(tag);
    }
}

/// Parses `Basic base64(name:password)`.
fn credentials(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    let plain = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (name, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).expect("plain")
    }

    fn alice() -> Users {
        let hash = bcrypt::hash("s3cret:", 4).expect("hashed");
        Users::new([("alice".to_owned(), hash)].into()).expect("a hash")
    }

    #[tokio::test]
    async fn the_right_password_is_admitted_each_time_and_a_wrong_one_never() {
        let users = alice();
        for _ in 0..2 {
            assert!(users.admit(Some(&header("alice:s3cret:"))).await);
            assert!(!users.admit(Some(&header("alice:s3cret"))).await);
        }
        for refused in ["bob:s3cret:", "alice", ""] {
            assert!(!users.admit(Some(&header(refused))).await, "{refused}");
        }
        assert!(!users.admit(Some(&HeaderValue::from_static("Bearer x"))).await);
        assert!(!users.admit(None).await);
    }

    #[test]
    fn a_password_in_the_clear_is_refused_with_the_way_to_hash_it() {
        let error = Users::new([("alice".to_owned(), "s3cret".to_owned())].into()).expect_err("no hash");
        assert!(error.contains("alice") && error.contains("htpasswd"), "{error}");
    }
}
