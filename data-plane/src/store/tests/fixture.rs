//! A store of either kind with a clock that the test moves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::super::{Store, memory, redis};
use super::server::{RedisCluster, RedisServer};

const START_S: u64 = 1_800_000_000;
/// Takes the place of `clock.lua`: nothing that ships can be told the time. In a cluster each node reads the one of
/// the three keys that is its own.
const TEST_CLOCK: &str = "
local function now_s()
  for _, tag in ipairs({ 'a', 'b', 'c' }) do
    local now = redis.pcall('GET', 'test:now:{' .. tag .. '}')
    if type(now) == 'string' then return tonumber(now) end
  end
end
local function now_exactly() return now_s(), 0 end
";
/// Hash tags whose slots lie in the first, second and third part of a cluster of three.
const CLOCK_TAGS: [&str; 3] = ["b", "c", "a"];

/// The store under test. Dropping it ends its Redis.
pub(super) struct Fixture {
    pub store: Store,
    now_s: Arc<AtomicU64>,
    backing: Backing,
}

/// Where the store's values are.
enum Backing {
    Memory,
    Server(RedisServer),
    Cluster(Arc<RedisCluster>),
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
        Self { store: Store::Memory(memory::Store::with_clock(clock)), now_s, backing: Backing::Memory }
    }

    pub(super) async fn redis() -> Self {
        let server = RedisServer::start().await;
        let store = redis::Store::with_clock(&[server.url()], patient(), TEST_CLOCK).expect("a usable URL");
        let now_s = Arc::new(AtomicU64::new(START_S));
        let fixture = Self { store: Store::Redis(store), now_s, backing: Backing::Server(server) };
        fixture.advance(0).await;
        fixture
    }

    pub(super) async fn cluster(cluster: &Arc<RedisCluster>) -> Self {
        let store = redis::Store::with_clock(&cluster.urls(), patient(), TEST_CLOCK).expect("usable URLs");
        let now_s = Arc::new(AtomicU64::new(START_S));
        let fixture = Self { store: Store::Redis(store), now_s, backing: Backing::Cluster(Arc::clone(cluster)) };
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
        let Backing::Server(server) = &self.backing else { panic!("a fixture in Redis") };
        let keys: Vec<String> = server.query(::redis::cmd("KEYS").arg("tg:*")).await;
        let mut found = Vec::new();
        for key in keys {
            let expires_s = server.query(::redis::cmd("TTL").arg(&key)).await;
            found.push((key, expires_s));
        }
        found
    }

    /// As a Redis that was restarted with nothing on disk.
    pub(super) async fn lose_everything(&self) {
        let Backing::Server(server) = &self.backing else { panic!("a fixture in Redis") };
        server.query::<()>(&::redis::cmd("FLUSHALL")).await;
        self.advance(0).await;
    }

    async fn set(&self, now_s: u64) {
        self.now_s.store(now_s, Ordering::SeqCst);
        for tag in CLOCK_TAGS {
            let mut set = ::redis::cmd("SET");
            set.arg(format!("test:now:{{{tag}}}")).arg(now_s);
            match &self.backing {
                Backing::Memory => {}
                Backing::Server(server) => server.query::<()>(&set).await,
                Backing::Cluster(cluster) => cluster.query::<()>(&set).await,
            }
        }
    }
}
