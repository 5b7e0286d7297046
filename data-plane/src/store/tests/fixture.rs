//! A store of either kind with a clock that the test moves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::super::{Store, memory, redis};
use super::server::RedisServer;

const START_S: u64 = 1_800_000_000;
/// Takes the place of `clock.lua`: nothing that ships can be told the time.
const TEST_CLOCK: &str = "local function now_s() return tonumber(redis.call('GET', 'test:now')) end\n";

/// The store under test. Dropping it ends its Redis.
pub(super) struct Fixture {
    pub store: Store,
    now_s: Arc<AtomicU64>,
    server: Option<RedisServer>,
}

/// Settings for machines that are busy with other tests.
pub(super) fn patient() -> redis::Settings {
    redis::Settings { deadline: Duration::from_secs(5), ..redis::Settings::default() }
}

impl Fixture {
    pub(super) fn memory() -> Self {
        let now_s = Arc::new(AtomicU64::new(START_S));
        let shown = Arc::clone(&now_s);
        let clock = memory::Clock::new(move || shown.load(Ordering::SeqCst));
        Self { store: Store::Memory(memory::Store::with_clock(clock)), now_s, server: None }
    }

    pub(super) async fn redis() -> Self {
        let server = RedisServer::start().await;
        let store = redis::Store::with_clock(&[server.url()], patient(), TEST_CLOCK).expect("a usable URL");
        let now_s = Arc::new(AtomicU64::new(START_S));
        let fixture = Self { store: Store::Redis(store), now_s, server: Some(server) };
        fixture.advance(0).await;
        fixture
    }

    pub(super) async fn advance(&self, seconds: u64) {
        self.set(self.now_s() + seconds).await;
    }

    pub(super) async fn set_back(&self, seconds: u64) {
        self.set(self.now_s() - seconds).await;
    }

    pub(super) fn now_s(&self) -> u64 {
        self.now_s.load(Ordering::SeqCst)
    }

    /// Every key of the store, with the seconds until Redis drops it.
    pub(super) async fn keys_with_expiry(&self) -> Vec<(String, i64)> {
        let server = self.server.as_ref().expect("a fixture in Redis");
        let keys: Vec<String> = server.query(::redis::cmd("KEYS").arg("tg:*")).await;
        let mut found = Vec::new();
        for key in keys {
            let expires_s = server.query(::redis::cmd("TTL").arg(&key)).await;
            found.push((key, expires_s));
        }
        found
    }

    async fn set(&self, now_s: u64) {
        self.now_s.store(now_s, Ordering::SeqCst);
        if let Some(server) = &self.server {
            server.query::<()>(::redis::cmd("SET").arg("test:now").arg(now_s)).await;
        }
    }
}
