//! Makes what is kept for hours, days or months old within minutes, by moving the ends of rows and sessions into the
//! past; whether it then goes is up to the product.
//!
//! Invariant: only what is as old as `after` is touched, and nothing is removed here.

use std::time::Duration;

use tollgate_tests::Deployment;

/// What a statement finds made before `$` is over since the day before yesterday. `agents` have no end of their own: they
/// are those that registered themselves and that nobody has allowed anything.
const TABLES: [&str; 5] = [
    "UPDATE authorization_codes SET expires_at = now() - interval '2 days'
     WHERE created_at < now() - $ AND expires_at > now() - interval '1 day'",
    "UPDATE refresh_tokens SET expires_at = now() - interval '2 days'
     WHERE created_at < now() - $ AND expires_at > now() - interval '1 day'",
    "UPDATE authorizations SET expires_at = now() - interval '2 days'
     WHERE created_at < now() - $ AND expires_at > now() - interval '1 day'",
    "UPDATE revocations SET expires_at = now() WHERE at < now() - $ AND expires_at > now()",
    "UPDATE agents SET created_at = now() - interval '2 days'
     WHERE origin = 'registration' AND confirmed_at IS NULL AND created_at < now() - $
       AND created_at > now() - interval '1 day'",
];

/// Assertions have no beginning: these are over when they could no longer be replayed.
const ASSERTIONS: &str = "UPDATE used_assertions SET expires_at = now() - interval '1 day' WHERE expires_at BETWEEN now() - interval '1 day' AND now()";

/// Sessions that nobody has used for so many seconds are at their end. ARGV: those seconds, and after how many a session
/// ends by itself.
const SESSIONS: &str = "
local last = tonumber(redis.call('TIME')[1]) + ARGV[2] - ARGV[1]
for _, key in ipairs(redis.call('KEYS', 'tg:*:sess:*')) do
  if tonumber(redis.call('HGET', key, 'idle_until') or last) < last then redis.call('HSET', key, 'idle_until', 1) end
end
for _, key in ipairs(redis.call('KEYS', 'tg:*:sess-ends')) do
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, 2, last)) do redis.call('ZADD', key, 1, name) end
end
return 0";
const SESSION_IDLE_S: &str = "1800";

/// Makes everything old that is older than `after`.
pub(crate) async fn age(tollgate: &Deployment, after: Duration) {
    let seconds = after.as_secs().to_string();
    for statement in TABLES {
        tollgate.sql(&statement.replace('$', &format!("interval '{seconds} s'"))).await;
    }
    tollgate.sql(ASSERTIONS).await;
    let _ = tollgate.redis(&["EVAL", SESSIONS, "0", &seconds, SESSION_IDLE_S]);
}
