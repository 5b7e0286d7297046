//! Tokens that were found good, by their SHA-256.
//!
//! Invariant: what is found here has to be checked like any token: for its tenant, its time and whether it was revoked.
//! A revoked one may stay, because finding it is cheaper than asking for it anew; it is refused all the same.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};

use super::access_token::AccessToken;

/// A table is copied when a token is added, so that reading one takes no lock: small tables, many of them.
const TABLES: usize = 256;
/// All tables together: more than an hour of distinct tokens for a busy data plane.
const TOKENS_PER_TABLE_MAX: usize = 400;

/// SHA-256 of a token's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

type Table = HashMap<TokenDigest, Arc<AccessToken>>;

/// Good tokens.
#[derive(Debug)]
pub(super) struct Cache {
    tables: Box<[OnceLock<ArcSwap<Table>>]>,
}

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { tables: std::iter::repeat_with(OnceLock::new).take(TABLES).collect() }
    }
}

impl Cache {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<AccessToken>> {
        self.table(digest).get()?.load().get(digest).cloned()
    }

    /// Remembers a token in place of others, where there is no room: of those that have expired at `now`, else of any.
    pub(super) fn insert(&self, digest: TokenDigest, token: &Arc<AccessToken>, now: i64) {
        let table = self.table(&digest).get_or_init(ArcSwap::default);
        table.rcu(|table| {
            let mut next = Table::clone(table);
            if next.len() >= TOKENS_PER_TABLE_MAX {
                next.retain(|_, token| now < token.expires_at());
            }
            if next.len() >= TOKENS_PER_TABLE_MAX {
                let any = next.keys().next().copied();
                any.map(|any| next.remove(&any));
            }
            next.insert(digest, Arc::clone(token));
            next
        });
    }

    pub(super) fn len(&self) -> usize {
        self.tables.iter().filter_map(OnceLock::get).map(|table| table.load().len()).sum()
    }

    fn table(&self, digest: &TokenDigest) -> &OnceLock<ArcSwap<Table>> {
        // A byte that another use of the digest does not look at first.
        &self.tables[usize::from(digest.0[31])]
    }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::TenantId;
    use uuid::Uuid;

    use super::*;

    fn token(expires_at: i64) -> Arc<AccessToken> {
        Arc::new(AccessToken {
            tenant: TenantId::new(),
            signed: None,
            jti: Uuid::now_v7(),
            client_id: String::new(),
            acts_for: None,
            audience: String::new(),
            issued_at: 0,
            expires_at,
            scopes: Arc::default(),
        })
    }

    /// The digests all fall into one table.
    fn digest(number: usize) -> TokenDigest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        TokenDigest(bytes)
    }

    #[test]
    fn what_is_remembered_is_found_and_nothing_else() {
        let cache = Cache::default();
        let kept = token(10);
        assert!(cache.get(&TokenDigest::of("a")).is_none());
        cache.insert(TokenDigest::of("a"), &kept, 0);
        assert_eq!(cache.get(&TokenDigest::of("a")), Some(kept));
        assert!(cache.get(&TokenDigest::of("b")).is_none());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_full_table_lets_the_expired_go_first_and_never_grows() {
        let cache = Cache::default();
        let (dead, alive) = (token(5), token(100));
        (0..TOKENS_PER_TABLE_MAX).for_each(|number| {
            cache.insert(digest(number), if number % 2 == 0 { &dead } else { &alive }, 0);
        });
        assert_eq!(cache.len(), TOKENS_PER_TABLE_MAX);
        cache.insert(digest(TOKENS_PER_TABLE_MAX), &alive, 50);
        assert_eq!(cache.len(), TOKENS_PER_TABLE_MAX / 2 + 1);
        assert!(cache.get(&digest(1)).is_some() && cache.get(&digest(2)).is_none());
        (1_000..1_000 + 2 * TOKENS_PER_TABLE_MAX).for_each(|number| cache.insert(digest(number), &alive, 50));
        assert_eq!(cache.len(), TOKENS_PER_TABLE_MAX);
        assert!(cache.get(&digest(1_000 + 2 * TOKENS_PER_TABLE_MAX - 1)).is_some(), "the newest is remembered");
    }
}
