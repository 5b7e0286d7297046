use super::*;
use crate::testing::run;

#[tokio::test]
async fn assertions_are_forgotten_once_they_could_not_be_replayed() {
    run(async |bench| {
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
        for (digest, age) in [(b"old", "10 minutes"), (b"new", "1 minute")] {
            let insert = "INSERT INTO used_assertions (tenant_id, digest, expires_at)
                          VALUES ($1, $2, now() - $3::text::interval)";
            let insert = sqlx::query(insert).bind(bench.acme.uuid()).bind(digest.as_slice()).bind(age);
            insert.execute(&mut *tx).await.expect("a row");
        }
        tx.commit().await.expect("Postgres");
        assert_eq!(purge(&bench.app, bench.acme).await.expect("Postgres"), 1);
        assert_eq!(purge(&bench.app, bench.acme).await.expect("Postgres"), 0);
    })
    .await;
}
