//! JWTs whose signature was verified before.
//!
//! Invariant: what is remembered is what a text says, and that a key of its tenant signed it. Neither ever changes; whether
//! the token or its key is still good is never remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tollgate_proto::TenantId;

use super::read::Known;
use crate::secret::Digest;

/// So many tokens are in one generation, of which there are two. What is said of one takes some 500 bytes.
const GENERATION: usize = 8_192;

/// A tenant, and the digest of a token's text.
pub(super) type Place = (TenantId, Digest);

/// The tokens that were shown last. Only good signatures get in, so strangers cannot fill it.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Generations>);

/// When the young ones are as many as may be, they become the old ones, and those that nobody showed since are forgotten.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Place, Arc<Known>>,
    old: HashMap<Place, Arc<Known>>,
}

impl Verified {
    /// What the token of that digest says.
    pub(super) fn find(&self, place: &Place) -> Option<Arc<Known>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get(place) {
            return Some(Arc::clone(known));
        }
        let known = generations.old.remove(place)?;
        generations.insert(*place, Arc::clone(&known));
        Some(known)
    }

    /// Remembers a token whose signature is good.
    pub(super) fn insert(&self, place: Place, known: Arc<Known>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, known);
    }
}

impl Generations {
    fn insert(&mut self, place: Place, known: Arc<Known>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_again_and_again_is_remembered_and_the_rest_forgotten() {
        let verified = Verified::default();
        let tenant = TenantId::new();
        let place = |token: usize| (tenant, Digest::of(&token.to_string()));
        let known = Arc::new(Known {
            jti: uuid::Uuid::nil(),
            client_id: String::new(),
            user: None,
            authorization: None,
            kid: None,
            audience: String::new(),
            scope: String::new(),
            issued_at: 0,
            expires_at: 0,
        });
        for token in 0..=5 * GENERATION {
            verified.insert(place(token), Arc::clone(&known));
            assert!(verified.find(&place(0)).is_some(), "after {token}");
        }
        assert!(verified.find(&place(1)).is_none());
        assert!(verified.find(&(TenantId::new(), place(0).1)).is_none(), "another tenant's");
        let generations = verified.0.lock().expect("not poisoned");
        assert!(generations.young.len() <= GENERATION && generations.old.len() <= GENERATION);
    }
}
