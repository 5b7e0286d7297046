//! What no endpoint can be faster than: its signature, its query, its commit.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor as _, PgConnection};
use tollgate_tests::Database;

use crate::assertion::Signer;

/// How long one of each takes.
pub(crate) struct Floors {
    /// An ES256 signature over 400 bytes.
    pub(crate) signature: Duration,
    /// A prepared query that reads no table, on one connection.
    pub(crate) round_trip: Duration,
    /// A transaction that inserts one row, on one connection.
    pub(crate) commit: Duration,
    /// What Postgres says about `synchronous_commit` and `fsync`.
    pub(crate) durability: String,
}

/// Measures each for `time`.
pub(crate) async fn measure(time: Duration) -> Floors {
    let database = Database::create().await;
    let mut postgres = PgConnection::connect(&database.url()).await.expect("Postgres is there");
    postgres.execute("CREATE TABLE floor (value int)").await.expect("a table");
    let durability =
        sqlx::query_scalar("SELECT current_setting('synchronous_commit') || ', fsync ' || current_setting('fsync')")
            .fetch_one(&mut postgres)
            .await
            .expect("a setting");
    let signer = Signer::new("https://floor.example");
    let signature = each(time, async || {
        black_box(signer.sign(&[7; 400]));
    });
    let signature = signature.await;
    let round_trip = each(time, async || {
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut postgres).await.expect("an answer");
        black_box(one);
    });
    let round_trip = round_trip.await;
    let commit = each(time, async || {
        sqlx::query("INSERT INTO floor VALUES (1)").execute(&mut postgres).await.expect("a row");
    });
    let commit = commit.await;
    postgres.close().await.expect("closed");
    Floors { signature, round_trip, commit, durability }
}

/// The mean of as many as fit into `time`.
async fn each(time: Duration, mut work: impl AsyncFnMut()) -> Duration {
    let began_at = Instant::now();
    let mut count = 0;
    while began_at.elapsed() < time {
        work().await;
        count += 1;
    }
    began_at.elapsed() / count
}
